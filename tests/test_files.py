import pytest

from cmg_jax import InputError
from cmg_jax.files import atomic_path


def test_a_file_appears_when_the_block_ends(tmp_path):
    with atomic_path(tmp_path / "a.txt") as partial:
        partial.write_text("new")
        assert partial.suffix == ".txt"
        assert not (tmp_path / "a.txt").exists()
    assert (tmp_path / "a.txt").read_text() == "new"


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_an_error_leaves_what_was_there(tmp_path, kind):
    target = tmp_path / "a"
    for content in ("old", "new"):
        try:
            with atomic_path(target) as partial:
                if kind == "directory":
                    partial.mkdir()
                (partial / "x" if kind == "directory" else partial).write_text(content)
                if content == "new":
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            pass
    assert (target / "x" if kind == "directory" else target).read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


@pytest.mark.parametrize("exchange", [True, False])
def test_a_directory_is_replaced_as_a_whole(tmp_path, exchange, monkeypatch):
    if not exchange:
        monkeypatch.setattr("sys.platform", "elsewhere")
    for name in ("first", "second"):
        with atomic_path(tmp_path / "d") as partial:
            partial.mkdir()
            (partial / name).touch()
    assert [path.name for path in (tmp_path / "d").iterdir()] == ["second"]
    assert [path.name for path in tmp_path.iterdir()] == ["d"]


def test_a_missing_parent_is_named(tmp_path):
    with pytest.raises(InputError, match="create it first"), atomic_path(tmp_path / "a" / "b"):
        pass


def test_what_a_link_points_to_is_replaced_not_the_link(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with atomic_path(tmp_path / "link") as partial:
        partial.mkdir()
        (partial / "new").touch()
    assert (tmp_path / "link").is_symlink()
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["new"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]
