"""The robot live in a browser, driven by models or played from a motion file. Needs the extra `view`.

    import viser
    drive = Drive([cmg_jax.default_model()], ["bundled model"])
    Page(viser.ViserServer(), drive, Skeleton(drive.robot)).run()  # until interrupted

`Drive` and `Playback` work without a page, too: `step()` returns the poses of the next frame.
"""

from cmg_jax.view._drive import Drive, read_commands
from cmg_jax.view._pacing import Pacer
from cmg_jax.view._page import Page
from cmg_jax.view._playback import Playback
from cmg_jax.view._pose import Pose
from cmg_jax.view._skeleton import Skeleton

__all__ = ["Drive", "Pacer", "Page", "Playback", "Pose", "Skeleton", "read_commands"]
