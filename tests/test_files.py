import os

import numpy as np
import pytest

from cmg_jax import InputError
from cmg_jax._files import atomic_directory, atomic_path, read_npz, require_file_target


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def allow(_):
    """A `require_ours` that accepts every directory."""


def interrupt():
    raise KeyboardInterrupt


def write_file(path, then):
    with atomic_path(path) as partial:
        partial.write_text("new")
        then()


def write_directory(path, then, **options):
    with atomic_directory(path, **options) as partial:
        partial.mkdir()
        (partial / "new").touch()
        then()


def test_a_file_appears_when_the_block_ends(tmp_path):
    with atomic_path(tmp_path / "a.txt") as partial:
        partial.write_text("new")
        assert partial.suffix == ".txt"
        assert not (tmp_path / "a.txt").exists()
    assert (tmp_path / "a.txt").read_text() == "new"


def test_an_error_leaves_the_file_that_was_there(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "a", interrupt)
    assert (tmp_path / "a").read_text() == "old"
    assert names(tmp_path) == ["a"]


def test_an_error_leaves_the_directory_that_was_there(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "old").touch()
    with pytest.raises(KeyboardInterrupt):
        write_directory(tmp_path / "a", interrupt, require_ours=allow)
    assert names(tmp_path) == ["a"]
    assert names(tmp_path / "a") == ["old"]


@pytest.mark.parametrize("appears", ["before", "while it is written"])
def test_a_file_never_replaces_a_directory(tmp_path, appears):
    target = tmp_path / "a.npz"

    def make_directory():
        target.mkdir()
        (target / "notes.tex").write_text("a user's notes")

    if appears == "before":
        make_directory()
        with pytest.raises(InputError, match=r"a\.npz: is a directory"):
            require_file_target(target)
    with pytest.raises(InputError, match=r"(?i)a\.npz: .*is a directory"):
        write_file(target, make_directory)
    assert (target / "notes.tex").read_text() == "a user's notes"
    assert names(tmp_path) == ["a.npz"]


def test_a_pipe_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe.csv")
    with pytest.raises(InputError, match="not a regular file"), atomic_path(tmp_path / "pipe.csv"):
        pass
    assert (tmp_path / "pipe.csv").is_fifo()


def test_a_file_that_is_read_is_not_written(tmp_path):
    (tmp_path / "in.csv").write_text("0,1,0,0")
    (tmp_path / "link.csv").symlink_to(tmp_path / "in.csv")
    require_file_target(tmp_path / "in.csv", [tmp_path / "other.csv"])
    with pytest.raises(InputError, match=r"link\.csv: is also an input"):
        require_file_target(tmp_path / "link.csv", [tmp_path / "other.csv", tmp_path / "in.csv"])


def test_an_existing_directory_is_replaced_only_if_it_is_ours(tmp_path):
    def refuse(path):
        raise InputError(f"{path} holds notes")

    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "notes").touch()
    for require_ours, words in ((None, "exists"), (refuse, "holds notes")):
        with pytest.raises(InputError, match=words), atomic_directory(tmp_path / "d", require_ours=require_ours):
            pytest.fail("no work may begin")

    def someone_else_is_first():
        (tmp_path / "e").mkdir()
        (tmp_path / "e" / "notes").touch()

    with pytest.raises(InputError, match="e exists"):
        write_directory(tmp_path / "e", someone_else_is_first)
    assert names(tmp_path) == ["d", "e"]
    assert names(tmp_path / "d") == names(tmp_path / "e") == ["notes"]


@pytest.mark.parametrize("exchange", [True, False])
def test_a_directory_is_replaced_as_a_whole(tmp_path, exchange, monkeypatch):
    if not exchange:
        monkeypatch.setattr("sys.platform", "elsewhere")
    for name in ("first", "second"):
        with atomic_directory(tmp_path / "d", require_ours=allow) as partial:
            partial.mkdir()
            (partial / name).touch()
    assert names(tmp_path / "d") == ["second"]
    assert names(tmp_path) == ["d"]


def test_a_missing_parent_is_named(tmp_path):
    for writing in (atomic_path, atomic_directory):
        with pytest.raises(InputError, match="create it first"), writing(tmp_path / "a" / "b"):
            pass


def test_the_target_of_a_link_is_replaced_and_not_the_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic_directory(tmp_path / "link", require_ours=allow) as partial:
        partial.mkdir()
        (partial / "new").touch()
    assert (tmp_path / "link").is_symlink()
    assert names(tmp_path / "real") == ["new"]
    assert names(tmp_path) == ["link", "real"]


def test_an_array_whose_header_is_too_small_is_damaged(tmp_path):
    rows = np.arange(15 * 400, dtype=np.float32).reshape(15, 400)
    np.savez(tmp_path / "a.npz", rows=rows, names=np.array(["a", "b"]))
    found = read_npz(tmp_path / "a.npz")
    np.testing.assert_array_equal(found["rows"], rows)
    assert found["names"].tolist() == ["a", "b"]
    content = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(content.replace(b"(15, 400)", b"(11, 400)"))
    assert len(np.load(tmp_path / "a.npz")["rows"]) == 11, "numpy reads it without an error"
    with pytest.raises(InputError, match=r"a\.npz: is damaged"):
        read_npz(tmp_path / "a.npz")
