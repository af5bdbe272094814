import pytest

from app.host.mounts import file_system_of

MOUNTS = r"""22 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw
23 22 0:22 / /srv rw - tmpfs tmpfs rw
24 23 0:23 /x /srv/a\040b rw master:3 propagate_from:2 - nfs4 host:/x rw,vers=4.2
25 22 0:24 / /home rw - ext4 /dev/vdb rw
26 22 0:25 / /home rw - fuse.sshfs host: rw
"""


@pytest.fixture
def mounts(tmp_path):
    path = tmp_path / "mountinfo"
    path.write_text(MOUNTS)
    return path


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", "ext4"),
        ("/nonexistent/bellhop", "ext4"),
        ("/srv", "tmpfs"),
        ("/srvx", "ext4"),
        ("/srv/a b/c", "nfs4"),
        ("/home/bob", "fuse.sshfs"),
    ],
)
def test_the_nearest_mount_tells_the_kind_and_the_later_one_hides_the_first(
    tmp_path, mounts, folder, kind
):
    assert file_system_of(tmp_path / folder, mounts=mounts) == kind


def test_a_link_is_followed(tmp_path, mounts):
    (tmp_path / "link").symlink_to("/srv")
    assert file_system_of(tmp_path / "link" / "x", mounts=mounts) == "tmpfs"


def test_a_kernel_that_tells_nothing_is_no_error(tmp_path):
    assert file_system_of(tmp_path, mounts=tmp_path / "nothing") is None


def test_this_host_s_own_kernel_is_understood(tmp_path):
    assert file_system_of(tmp_path)
