const strip = document.querySelector(".strip");
const slider = document.querySelector("#slider");
const go = () => { strip.scrollLeft = slider.value * strip.clientWidth; };
slider.closest("label").hidden = false;
slider.addEventListener("input", go);
strip.addEventListener("scroll", () => { slider.value = Math.round(strip.scrollLeft / strip.clientWidth); });
addEventListener("resize", go);
if (!location.hash) go();
