"""The folder of results: whole or not at all, whatever happens."""

import errno
import os
import resource
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from strokelens.cohorts.folder import MAPS, PATIENT, RESULT, check_out, new_folder, settle
from strokelens.errors import OutputError, SeriesError
from tests.nifti_files import as_nobody

__all__ = ["as_nobody"]

OURS = '{"software": "strokelens 0.1.0"}'


def content(folder: Path) -> dict[str, str]:
    """Every file below a folder with its text."""
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def write(out: Path, text: str, *, overwrite: bool = False) -> None:
    with new_folder(out, marker=RESULT, overwrite=overwrite) as folder:
        (folder / "maps").mkdir()
        (folder / "maps/a.txt").write_text(text)
        (folder / "result.json").write_text(OURS)


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    mount = shutil.which("mount")
    made = mount and subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], check=False, capture_output=True
    )
    if not made or made.returncode:
        pytest.skip("this user cannot mount a small file system")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_the_folder_appears_when_the_block_ends_and_not_before(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with new_folder(out, marker=RESULT) as folder:
        (folder / "a.txt").write_text("1")
        assert not out.exists()
        assert folder.parent == out.parent
    assert content(tmp_path) == {"out/a.txt": "1"}


def test_the_folder_has_the_permissions_that_the_user_gives(tmp_path: Path) -> None:
    (tmp_path / "plain").mkdir()
    write(tmp_path / "out", "1")
    assert (tmp_path / "out").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_missing_parents_are_made_and_removed_again_on_failure(tmp_path: Path) -> None:
    with pytest.raises(SeriesError), new_folder(tmp_path / "a/b/out", marker=RESULT):
        raise SeriesError("no bolus")
    assert list(tmp_path.iterdir()) == []
    write(tmp_path / "a/b/out", "1")
    assert (tmp_path / "a/b/out/maps/a.txt").read_text() == "1"


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, SeriesError, RuntimeError, FileNotFoundError])
def test_whatever_ends_the_block_leaves_nothing_and_passes_on(tmp_path: Path, error: type[BaseException]) -> None:
    def work() -> None:
        with new_folder(tmp_path / "out", marker=RESULT) as folder:
            (folder / "half.txt").write_text("1")
            raise error

    with pytest.raises(error):
        work()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_an_interrupted_overwrite_leaves_the_old_results(tmp_path: Path, error: type[BaseException]) -> None:
    write(tmp_path / "out", "old")
    with pytest.raises(error), new_folder(tmp_path / "out", marker=RESULT, overwrite=True):
        raise error
    assert content(tmp_path) == {"out/maps/a.txt": "old", "out/result.json": OURS}


def test_an_existing_folder_is_refused_without_overwrite(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(OutputError, match=r"/out exists; give another folder, or --overwrite to replace it$"):
        write(tmp_path / "out", "new")


def test_overwrite_replaces_what_strokelens_wrote_wholly(tmp_path: Path) -> None:
    write(tmp_path / "out", "old")
    (tmp_path / "out/extra.txt").write_text("gone")
    write(tmp_path / "out", "new", overwrite=True)
    assert content(tmp_path) == {"out/maps/a.txt": "new", "out/result.json": OURS}


def test_overwrite_takes_an_empty_folder_and_a_new_one(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    write(tmp_path / "out", "new", overwrite=True)
    write(tmp_path / "other", "new", overwrite=True)
    assert (tmp_path / "out/maps/a.txt").read_text() == (tmp_path / "other/maps/a.txt").read_text() == "new"


@pytest.mark.parametrize("name", ["thesis.txt", "result.json"])
def test_overwrite_never_replaces_a_folder_of_somebody_else(tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).write_text('{"software": "another"}')
    with pytest.raises(
        OutputError, match=r"/out has no result\.json by strokelens and is not replaced; give another folder$"
    ):
        write(tmp_path / "out", "new", overwrite=True)
    assert content(tmp_path) == {f"out/{name}": '{"software": "another"}'}


def test_a_link_stays_a_link_to_the_replaced_folder(tmp_path: Path) -> None:
    write(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write(tmp_path / "link", "new", overwrite=True)
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real/maps/a.txt").read_text() == "new"


def test_a_file_as_out_is_refused(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("1")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=r"/out is a file; give a folder that does not exist yet$"):
            write(tmp_path / "out", "new", overwrite=overwrite)


def test_a_file_as_parent_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("1")
    with pytest.raises(OutputError, match=r"/file/out would lie inside a file; give another folder$"):
        write(tmp_path / "file/out", "new")


def test_an_unwritable_parent_is_refused(tmp_path: Path, as_nobody: None) -> None:
    with pytest.raises(OutputError, match=r"/out may not be written by this user; give another folder$"):
        write(Path("/") / "out", "new")


def test_a_failed_renaming_puts_the_old_results_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "out", "old")
    rename = Path.rename

    def refuse(path: Path, target: Path) -> Path:
        if path.name.endswith(".part"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OutputError, match=r"cannot be written \(Input/output error\)"):
        write(tmp_path / "out", "new", overwrite=True)
    assert content(tmp_path) == {"out/maps/a.txt": "old", "out/result.json": OURS}


def test_a_full_disk_is_one_line_and_leaves_nothing(full_disk: Path) -> None:
    out = full_disk / "out"
    with pytest.raises(OutputError, match=r"/out is full; nothing was written; make room or give another folder$"):
        write(out, "x" * 1_000_000)
    assert list(full_disk.iterdir()) == []
    write(out, "x")
    assert out.is_dir()


def test_a_disk_full_during_overwrite_leaves_the_old_results(full_disk: Path) -> None:
    write(full_disk / "out", "old")
    with pytest.raises(OutputError, match="is full"):
        write(full_disk / "out", "x" * 1_000_000, overwrite=True)
    assert content(full_disk) == {"out/maps/a.txt": "old", "out/result.json": OURS}


def test_a_limit_on_file_size_is_not_called_a_full_disk(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))  # Python ignores SIGXFSZ: write fails with EFBIG
    try:
        with pytest.raises(OutputError, match=r"/out cannot be written \(File too large\); give another folder$"):
            write(tmp_path / "out", "x" * 1_000_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_a_library_that_hides_the_number_of_a_full_disk_is_seen_through(
    full_disk: Path,
) -> None:
    def fill_and_hide(out: Path) -> None:
        with new_folder(out, marker=RESULT) as folder:
            try:
                (folder / "a.txt").write_text("x" * 1_000_000)
            except OSError:
                raise OSError("encoder error -2 when writing image file") from None

    with pytest.raises(OutputError, match="is full"):
        fill_and_hide(full_disk / "out")
    assert list(full_disk.iterdir()) == []


def test_an_error_of_the_work_inside_is_not_blamed_on_the_disk(tmp_path: Path) -> None:
    with pytest.raises(ConnectionResetError), new_folder(tmp_path / "out", marker=RESULT):
        raise ConnectionResetError(errno.ECONNRESET, "reset")


@pytest.mark.parametrize("place", ["/proc/x", "/proc/a/b/x", "/proc/self/fd/x"])
def test_a_place_where_nothing_can_be_written_is_not_called_a_full_disk(place: str) -> None:
    if not Path("/proc/self").exists():
        pytest.skip("there is no /proc here")
    with pytest.raises(
        OutputError, match=r"(cannot be written here|may not be written by this user); give another folder$"
    ):
        write(Path(place), "new")


@pytest.mark.parametrize(("marker", "other"), [(RESULT, MAPS), (RESULT, PATIENT), (MAPS, RESULT), (PATIENT, RESULT)])
def test_each_verb_replaces_only_what_it_wrote_itself(tmp_path: Path, marker: str, other: str) -> None:
    (tmp_path / other).write_text(OURS)
    with pytest.raises(OutputError, match=rf"has no {marker} by strokelens and is not replaced; give another folder$"):
        check_out(tmp_path, marker=marker, overwrite=True)
    (tmp_path / marker).write_text(OURS)
    check_out(tmp_path, marker=marker, overwrite=True)


def our_results_with_input(folder: Path) -> None:
    """A folder that would be replaced, with an input of the user in it, and links to it from outside and back."""
    (folder / "victim/maps").mkdir(parents=True)
    (folder / "victim/result.json").write_text(OURS)
    (folder / "victim/ctp.nii.gz").write_text("scan")
    (folder / "elsewhere").symlink_to(folder / "victim")
    (folder / "far.nii.gz").write_text("scan")
    (folder / "victim/linked.nii.gz").symlink_to(folder / "far.nii.gz")


@pytest.mark.parametrize(
    ("source", "out"),
    [
        ("victim/ctp.nii.gz", "victim"),
        ("victim", "victim"),
        ("victim/maps", "victim"),
        ("victim", "."),
        ("victim/ctp.nii.gz", "elsewhere"),
        ("elsewhere/ctp.nii.gz", "victim"),
        ("elsewhere", "victim/../victim"),
        ("victim/linked.nii.gz", "victim"),
    ],
)
@pytest.mark.parametrize("overwrite", [False, True])
def test_an_out_that_is_or_holds_the_input_is_refused(tmp_path: Path, source: str, out: str, overwrite: bool) -> None:
    our_results_with_input(tmp_path)
    with pytest.raises(OutputError) as caught:
        check_out(tmp_path / out, marker=RESULT, overwrite=overwrite, source=tmp_path / source)
    said = f"{tmp_path / out} is or holds the input {tmp_path / source}, which must stay; give another folder"
    assert str(caught.value) == said


@pytest.mark.parametrize(("source", "out"), [("victim", "victim/new"), ("far.nii.gz", "victim"), ("..", "new")])
def test_an_out_beside_or_inside_the_input_is_allowed(
    tmp_path: Path, source: str, out: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    our_results_with_input(tmp_path)
    monkeypatch.chdir(tmp_path)
    check_out(Path(out), marker=RESULT, overwrite=True, source=Path(source))


def test_a_folder_settles_among_what_is_there(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for path, text in (
        (source / "a/new/x", "1"),
        (source / "a/old", "2"),
        (target / "a/old", "0"),
        (target / "b", "3"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    settle(source, target)
    found = {path.relative_to(target).as_posix(): path.read_text() for path in target.rglob("*") if path.is_file()}
    assert found == {"a/new/x": "1", "a/old": "2", "b": "3"}
    assert not [path for path in source.rglob("*") if path.is_file()]
