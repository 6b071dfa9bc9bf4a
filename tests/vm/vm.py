"""`just vm`: the isolation tests on a Debian kernel whose only control groups are version 2.

    python3 tests/vm/vm.py [--as root|user] [--memory MB] [--kernel DEB] [pytest arguments…]

qemu boots Debian's kernel (fetched by `apt-get download` once, into the cache folder) with a
small initramfs. Its root is this machine's own, read-only over 9p, under an overlay in memory: so
the tests, the interpreter and the packages are the ones here, and nothing here is changed.
`--as user` runs them as an ordinary user in a control group that was delegated to him. Without
KVM the processor is emulated, which is some twenty times slower.

The last line printed is pytest's summary; the exit code is pytest's.
"""

from __future__ import annotations

import argparse
import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "thane" / "vm"
# In the order in which they are loaded; what a kernel has built in is not among its modules.
MODULES = (
    *("virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci"),
    *("netfs", "fscache", "9pnet", "9pnet_virtio", "9p", "overlay"),
)
USER = 12345
SLOWNESS = 10  # of an emulated processor
# The tier with control groups in them, and what does not depend on the tier.
DEFAULT = ("-q", "-k", "[T2] or best or cgroup", "tests/isolation")
EXIT = re.compile(r"^VM-EXIT (\d+)\s*$", re.MULTILINE)
_INIT = """#!/bin/sh
/bin/busybox mkdir -p /proc /sys /lower /upper /merged
/bin/busybox mount -t proc proc /proc
for module in {modules}; do /bin/busybox insmod /modules/$module.ko || echo "no $module"; done
/bin/busybox mount -t 9p -o trans=virtio,version=9p2000.L,ro,cache=loose,msize=262144 host /lower
/bin/busybox mount -t tmpfs -o size=80% upper /upper
/bin/busybox mkdir /upper/data /upper/work
/bin/busybox mount -t overlay -o lowerdir=/lower,upperdir=/upper/data,workdir=/upper/work overlay /merged
/bin/busybox cp /vm-start /merged/vm-start
/bin/busybox umount /proc
exec /bin/busybox switch_root /merged /bin/sh /vm-start
"""
_START = """
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t devtmpfs dev /dev 2>/dev/null
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
mount -t tmpfs -o mode=1777 tmpfs /tmp
mount -t tmpfs -o mode=755 tmpfs /run
ip link set lo up 2>/dev/null
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/tmp LANG=C.UTF-8
export PYTHONDONTWRITEBYTECODE=1 THANE_TEST_SLOWNESS={slowness}
echo "kernel $(uname -r), control groups: $(cat /sys/fs/cgroup/cgroup.controllers)"
{run}
echo "VM-EXIT $?"
sync
echo b > /proc/sysrq-trigger
sleep 60
"""
# First once for nothing: over 9p, cold, the program takes longer to start than its clients wait.
_AS_ROOT = """
cd {root} && {python} -m thane.isolation --help > /dev/null && {python} -m pytest {arguments}
"""
# What systemd does for a user with Delegate=yes: a group of his own, and a process of his in it.
_AS_USER = """
mkdir /sys/fs/cgroup/delegated /sys/fs/cgroup/others
for pid in $(cat /sys/fs/cgroup/cgroup.procs); do
    echo $pid > /sys/fs/cgroup/others/cgroup.procs 2>/dev/null
done
echo '+memory +pids +cpu' > /sys/fs/cgroup/cgroup.subtree_control
chown {user}:{user} /sys/fs/cgroup/delegated /sys/fs/cgroup/delegated/cgroup.procs
chown {user}:{user} /sys/fs/cgroup/delegated/cgroup.subtree_control /sys/fs/cgroup/delegated/cgroup.threads
echo $$ > /sys/fs/cgroup/delegated/cgroup.procs
mkdir /tmp/home && chown {user}:{user} /tmp/home && cd /tmp/home
export HOME=/tmp/home PYTHONPATH={path}
setpriv --reuid {user} --regid {user} --clear-groups {python} -m pytest {arguments}
"""


def needs(program: str, package: str) -> str:
    found = shutil.which(program)
    if found is None:
        sys.exit(f"needs {program}: run `apt-get install --no-install-recommends {package}`")
    return found


def kernel_package() -> Path:
    """Debian's current kernel, fetched once. (The one for clouds has no 9p.)"""
    listed = subprocess.run(
        ("apt-cache", "depends", "linux-image-amd64"), capture_output=True, text=True, check=True
    ).stdout
    found = re.search(r"Depends: (linux-image-\S+)", listed)
    if found is None:
        sys.exit("apt knows no kernel: run `apt-get update`")
    CACHE.mkdir(parents=True, exist_ok=True)
    name = found[1]
    have = sorted(CACHE.glob(f"{name}_*.deb"))
    if not have:
        subprocess.run(("apt-get", "download", name), cwd=CACHE, check=True)
        have = sorted(CACHE.glob(f"{name}_*.deb"))
    return have[-1]


def unpack(package: Path, into: Path) -> tuple[Path, dict[str, Path]]:
    """The kernel and those of its modules that the start needs."""
    content = subprocess.run(("dpkg-deb", "--fsys-tarfile", package), capture_output=True, check=True).stdout
    kernel, modules = into / "vmlinuz", {}
    with tarfile.open(fileobj=io.BytesIO(content)) as files:
        for member in files:
            name = Path(member.name).name
            if not member.isfile():
                continue
            if name.startswith("vmlinuz-"):
                target = kernel
            elif name.removesuffix(".ko") in MODULES and name.endswith(".ko"):
                target = modules[name.removesuffix(".ko")] = into / name
            else:
                continue
            data = files.extractfile(member)
            assert data is not None
            target.write_bytes(data.read())
    return kernel, modules


def initramfs(modules: dict[str, Path], start: str, into: Path) -> Path:
    """A cpio archive with busybox, the modules and an init."""
    tree = into / "initramfs"
    for name in ("bin", "modules", "dev"):
        (tree / name).mkdir(parents=True)
    shutil.copy(needs("busybox", "busybox-static"), tree / "bin/busybox")
    (tree / "bin/sh").symlink_to("busybox")
    for name, path in modules.items():
        shutil.copy(path, tree / f"modules/{name}.ko")
    order = " ".join(name for name in MODULES if name in modules)
    (tree / "init").write_text(_INIT.format(modules=order))
    (tree / "init").chmod(0o755)
    (tree / "vm-start").write_text(start)
    names = "\n".join(str(path.relative_to(tree)) for path in sorted(tree.rglob("*")))
    packed = subprocess.run(
        (tree / "bin/busybox", "cpio", "-o", "-H", "newc"),
        cwd=tree,
        input=names.encode(),
        capture_output=True,
        check=True,
    ).stdout
    archive = into / "initramfs.cpio"
    archive.write_bytes(packed)
    return archive


def start_script(arguments: argparse.Namespace) -> str:
    packages = sysconfig.get_path("purelib", vars={"base": str(ROOT / ".venv")})
    # What is a path of the project's is one wherever the tests are started from.
    given = [
        str(ROOT / part) if (ROOT / part.partition("::")[0]).exists() else part
        for part in arguments.pytest or DEFAULT
    ]
    said: dict[str, object] = {"root": ROOT, "user": USER, "path": f"{ROOT}:{ROOT / 'src'}:{packages}"}
    said["arguments"] = shlex.join(["-p", "no:cacheprovider", *given])
    if arguments.run_as == "user":
        run = _AS_USER.format(**said, python="/usr/bin/python3")
    else:
        run = _AS_ROOT.format(**said, python=ROOT / ".venv/bin/python")
    return _START.format(run=run, slowness=1 if _accelerated() else SLOWNESS)


def boot(kernel: Path, archive: Path, share: Path, memory: int) -> str:
    """Run it to its end; what it printed."""
    accelerated = _accelerated()
    command = [
        needs("qemu-system-x86_64", "qemu-system-x86"),
        *("-accel", "kvm" if accelerated else "tcg,thread=multi"),
        *("-cpu", "host" if accelerated else "max"),
        *("-smp", "2", "-m", str(memory), "-nographic", "-no-reboot", "-nodefaults", "-serial", "stdio"),
        *("-kernel", str(kernel), "-initrd", str(archive)),
        *("-append", "console=ttyS0 quiet loglevel=3 panic=-1 tsc=reliable no_timer_check"),
        *("-fsdev", f"local,id=host,path={share},security_model=none,readonly=on,multidevs=remap"),
        *("-device", "virtio-9p-pci,fsdev=host,mount_tag=host"),
    ]
    said: list[str] = []
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as running:
        assert running.stdout is not None
        for line in running.stdout:
            said.append(line.decode("utf-8", "replace").replace("\r", ""))
            sys.stdout.write(said[-1])
            sys.stdout.flush()
    return "".join(said)


def _accelerated() -> bool:
    """Whether there is KVM: that /dev/kvm is there proves nothing, the processor must be able to."""
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    flags = re.search(r"^flags\s*:(.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return flags is not None and bool({"vmx", "svm"} & set(flags[1].split()))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--as", dest="run_as", choices=("root", "user"), default="root")
    parser.add_argument("--memory", type=int, default=4096)
    parser.add_argument("--kernel", type=Path, help="a package file; default: Debian's current kernel")
    arguments, rest = parser.parse_known_args()
    arguments.pytest = rest
    with tempfile.TemporaryDirectory(prefix="thane-vm-") as name:
        folder = Path(name)
        kernel, modules = unpack(arguments.kernel or kernel_package(), folder)
        archive = initramfs(modules, start_script(arguments), folder)
        said = boot(kernel, archive, Path("/"), arguments.memory)
    ended = EXIT.findall(said)
    if not ended:
        sys.exit("the machine ended before the tests did")
    return int(ended[-1])


if __name__ == "__main__":
    sys.exit(main())
