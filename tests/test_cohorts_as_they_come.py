"""Cohorts as people leave them: folders with odd names, stray files, copies, and files that are no files."""

from pathlib import Path

from strokelens.cohorts.layouts import open_cohort
from strokelens.cohorts.nifti import read_study
from tests.dicom_studies import head, perfusion
from tests.dicom_studies import save as save_dicom
from tests.nifti_files import adc, adc_map, save

# ── folders whose names say mask


def test_a_dicom_study_in_a_folder_named_like_a_mask_is_a_case(tmp_path: Path) -> None:
    for number, name in enumerate(("GT", "Seg", "Lesion", "Mask", "ok")):
        uid = f"1.2.3.{number}"
        images = perfusion(head(seed=number), StudyInstanceUID=uid, SeriesInstanceUID=f"{uid}.3", PatientID=name)
        for at, image in enumerate(images):
            image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"{uid}.3.{at}"
        save_dicom(tmp_path / name, images)
    cohort = open_cohort(tmp_path)
    assert (cohort.layout, len(cohort)) == ("dicom", 5)


def test_a_folder_of_masks_is_passed_over_only_beside_images(tmp_path: Path) -> None:
    save(tmp_path / "1/ROI/adc.nii", adc_map(seed=1))
    assert read_study(tmp_path / "1").channels.keys() == {"ADC"}
    adc(tmp_path / "1")
    assert read_study(tmp_path / "1")["ADC"].max() == adc_map().max()
