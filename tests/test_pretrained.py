"""VGG16's weights: from files of the published form, safely, and into encoders."""

import http.server
import pickle
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from strokelens.errors import FileError, SettingsError
from strokelens.networks.fusion import Fusion, FusionDesign
from strokelens.networks.pretrained import load_encoders
from strokelens.networks.vgg16 import Vgg16
from strokelens.pretrained import cache_folder, fetched, read_weights

# torchvision's vgg16: the convolutions among `features` and their shapes.
SHAPES = {
    0: (64, 3), 2: (64, 64), 5: (128, 64), 7: (128, 128), 10: (256, 128), 12: (256, 256), 14: (256, 256),
    17: (512, 256), 19: (512, 512), 21: (512, 512), 24: (512, 512), 26: (512, 512), 28: (512, 512),
}  # fmt: skip


def published(width: int = 1) -> dict[str, Tensor]:
    """Random weights with torchvision's names and shapes (or the shapes over `width`), and a classifier."""
    generator = torch.Generator().manual_seed(1)
    state = {}
    for at, (after, before) in SHAPES.items():
        into = before if before == 3 else before // width
        state[f"features.{at}.weight"] = torch.randn(after // width, into, 3, 3, generator=generator)
        state[f"features.{at}.bias"] = torch.randn(after // width, generator=generator)
    return state | {"classifier.6.bias": torch.zeros(1000)}


def test_an_encoder_has_the_published_names_and_shapes() -> None:
    with torch.device("meta"):
        state = Vgg16(3).state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == {
        name: tuple(tensor.shape) for name, tensor in published().items() if name.startswith("features.")
    }


def test_an_encoder_is_the_published_sequence_of_layers() -> None:
    """The same as convolutions, ReLUs and pools one after the other, by torch's functions."""
    state = published(8)
    net = Fusion(FusionDesign(maps=("CBF",), width=1 / 8))
    load_encoders(net, state)
    x = image = torch.randn(1, 3, 64, 32)
    for at in range(31):
        if at in SHAPES:
            x = torch.nn.functional.conv2d(x, state[f"features.{at}.weight"], state[f"features.{at}.bias"], padding=1)
        elif at in (4, 9, 16, 23, 30):
            x = torch.nn.functional.max_pool2d(x, 2)
        else:
            x = x.relu()
    torch.testing.assert_close(net.encoders[0](image)[1], x)


def test_every_encoder_gets_the_weights_and_the_rest_is_left() -> None:
    net = Fusion(FusionDesign(width=1 / 16))
    head = net.head[2].weight.clone()  # type: ignore[operator]
    state = published(16)
    load_encoders(net, state)
    for encoder in net.encoders:
        torch.testing.assert_close(encoder.features[28].weight, state["features.28.weight"])  # type: ignore[index,union-attr]
    torch.testing.assert_close(net.head[2].weight, head)


@pytest.mark.parametrize("colours", [1, 3])
def test_the_same_slice_again_and_again_is_seen_as_that_slice(colours: int) -> None:
    one, several = (Fusion(FusionDesign(("CBF",), colours=colours, slices=n, width=1 / 16)) for n in (1, 3))
    for net in (one, several):
        load_encoders(net, published(16))
    image = torch.rand(1, colours, 8, 8)
    found = several.encoders[0].features[0](image.repeat(1, 3, 1, 1))  # type: ignore[index,operator]
    torch.testing.assert_close(found, one.encoders[0].features[0](image))  # type: ignore[index,operator]


@pytest.mark.parametrize("first", ["sum", "mean"])
def test_a_scalar_map_is_seen_as_a_grey_picture(first: str) -> None:
    net = Fusion(FusionDesign(maps=("CBF",), colours=1, width=1 / 16))
    state = published(16)
    load_encoders(net, state, first=first)  # type: ignore[arg-type]
    grey = torch.rand(1, 1, 8, 8)
    picture = grey.expand(1, 3, 8, 8) if first == "sum" else grey.expand(1, 3, 8, 8) / 3
    expected = torch.nn.functional.conv2d(picture, state["features.0.weight"], state["features.0.bias"], padding=1)
    torch.testing.assert_close(net.encoders[0].features[0](grey), expected)  # type: ignore[index,operator]


def test_weights_that_lack_a_layer_or_have_another_size_are_refused() -> None:
    net = Fusion(FusionDesign(width=1 / 16))
    short = published(16)
    del short["features.28.bias"]
    with pytest.raises(SettingsError, match=r"w\.pth has no features\.28\.bias; give VGG16's weights with torchvision"):
        load_encoders(net, short, source="w.pth")
    with pytest.raises(
        SettingsError, match=r"features\.0\.weight has shape \(8, 3, 3, 3\), where \(4, 3, 3, 3\) is ne"
    ):
        load_encoders(net, published(8))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_files_of_both_kinds_are_read_with_their_checksum(tmp_path: Path, suffix: str) -> None:
    path, state = tmp_path / f"vgg16{suffix}", published(16)
    torch.save(state, path) if suffix == ".pth" else save_file(state, path)
    weights = read_weights(str(path))
    assert weights.sha256 == sha256(path.read_bytes()).hexdigest()
    assert weights.tensors.keys() == state.keys()
    torch.testing.assert_close(weights.tensors["features.0.weight"], state["features.0.weight"])


class Evil:
    """What a pickle could do."""

    def __reduce__(self) -> tuple[object, tuple[str, ...]]:
        return Path.touch, (Path("/tmp/strokelens-was-here"),)  # type: ignore[return-value]


@pytest.mark.parametrize("content", [b"", b"no weights", pickle.dumps({"a": 1}), pickle.dumps(Evil())])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_what_is_no_weights_is_refused_and_never_run(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = tmp_path / f"w{suffix}"
    path.write_bytes(content)
    with pytest.raises(FileError, match=f"w{suffix} holds no"):
        read_weights(str(path))
    assert not Path("/tmp/strokelens-was-here").exists()


def test_a_whole_model_is_no_state_dict(tmp_path: Path) -> None:
    torch.save([torch.zeros(2)], tmp_path / "m.pth")
    with pytest.raises(FileError, match=r"m\.pth holds no mapping of names to tensors"):
        read_weights(str(tmp_path / "m.pth"))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileError, match="is no file; give one with the weights of VGG16, or `imagenet`"):
        read_weights(str(tmp_path / "none.pth"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A server of the files of a folder `site`."""
    (tmp_path / "site").mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "site"))  # type: ignore[arg-type]

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        thread = threading.Thread(target=serving.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{serving.server_address[1]}"
        serving.shutdown()
        thread.join()


def test_weights_are_fetched_once_and_kept(server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STROKELENS_CACHE", str(tmp_path / "cache"))
    torch.save(published(16), tmp_path / "w")
    content = (tmp_path / "w").read_bytes()
    name = f"vgg16-{sha256(content).hexdigest()[:8]}.pth"
    (tmp_path / "site" / name).write_bytes(content)
    path = fetched(f"{server}/{name}")
    assert path == tmp_path / "cache" / name
    (tmp_path / "site" / name).unlink()
    assert fetched(f"{server}/{name}").read_bytes() == content
    assert [each.name for each in (tmp_path / "cache").iterdir()] == [name]


def test_another_checksum_is_refused_and_nothing_is_kept(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STROKELENS_CACHE", str(tmp_path / "cache"))
    (tmp_path / "site" / "vgg16-00000000.pth").write_bytes(b"other")
    with pytest.raises(FileError, match=r"vgg16-00000000\.pth came with another checksum"):
        fetched(f"{server}/vgg16-00000000.pth")
    assert list((tmp_path / "cache").iterdir()) == []


def test_where_there_is_no_network_that_is_said_plainly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STROKELENS_CACHE", str(tmp_path))
    with pytest.raises(
        FileError, match=r"cannot be fetched \(.*refused.*\); fetch it where there is a network and give"
    ):
        fetched("http://127.0.0.1:9/vgg16-397923af.pth")
    assert list(tmp_path.iterdir()) == []


def test_the_cache_is_where_the_system_wants_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STROKELENS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/var/cache/me")
    assert cache_folder() == Path("/var/cache/me/strokelens")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "strokelens"


@pytest.mark.parametrize("fusion", ["early", "late", "slow"])
@pytest.mark.parametrize(("colours", "slices"), [(1, 1), (3, 1), (1, 3), (3, 3)])
def test_a_network_gives_another_of_its_design_all_of_its_encoders(fusion: str, colours: int, slices: int) -> None:
    design = FusionDesign(("CBF", "Tmax"), colours=colours, slices=slices, width=1 / 32, fusion=fusion)  # type: ignore[arg-type]
    one, other = Fusion(design), Fusion(design)
    load_encoders(other, one.state_dict())
    for mine, theirs in zip(one.encoders.parameters(), other.encoders.parameters(), strict=True):
        assert torch.equal(mine, theirs)


def test_encoders_of_more_or_fewer_maps_are_refused() -> None:
    four, five = (Fusion(FusionDesign(tuple("abcde"[:n]), width=1 / 32)) for n in (4, 5))
    with pytest.raises(SettingsError, match="its network has 4 encoders, and this one 5, which would be of other maps"):
        load_encoders(five, four.state_dict())
    sole = Fusion(FusionDesign(shared=True, width=1 / 32))
    load_encoders(five, sole.state_dict())
    assert torch.equal(five.encoders[4].features[0].weight, sole.encoders[0].features[0].weight)  # type: ignore[index,union-attr]
