# SPDX-License-Identifier: GPL-2.0-or-later
"""A libvirtd of a test's own, and real domains in it.

    with Libvirtd(tmp, cache) as libvirt:
        domain = libvirt.start("web01", [Drive("vda", image)])
        domain.write("vda", 0, 65536, 0x55)

It runs in a mount namespace of its own, in which all of libvirt's directories
are below the test's: nothing of the system's libvirt is seen or touched, and
neither systemd nor KVM is needed.  Domains are TCG.  A guest that writes by
itself is guest.py's.
"""

import json
import os
import re
import signal
import subprocess
from dataclasses import dataclass
from xml.sax.saxutils import escape

from deadline import DEADLINE, wait_for
from ours import dies_with_us

_CONFIG = """
stdio_handler = "file"
security_driver = "none"
user = "root"
group = "root"
dynamic_ownership = 0
remember_owner = 0
namespaces = []
cgroup_controllers = []
"""

# Leases of the disks, which another daemon keeps.
_LOCKS = """
lock_manager = "lockd"
"""

# A copy of another test's mount would keep it alive after its umount, and so
# would one of our own view's.
_SETUP = """
awk -v mine="${1%/lv}/" '
    / - fuse/ || $5 ~ "^/tmp/flt-" && index($5, mine) != 1 {print $5}' \\
    /proc/self/mountinfo | xargs -r -n1 umount -l
set -e
for where in etc/libvirt var/lib/libvirt run/libvirt var/cache/libvirt \\
    var/log/libvirt; do
    mkdir -p "/$where" "$1/$where"
    [ "$where" = var/cache/libvirt ] || mount --bind "$1/$where" "/$where"
done
mount --bind "$2" /var/cache/libvirt
# it wants to know this one, whoever QEMU is to run as
known() {
    getent "$1" libvirt-qemu >/dev/null || {
        { cat "/etc/$1" && echo "$2"; } >"$3/$1"
        mount --bind "$3/$1" "/etc/$1"
    }
}
known passwd libvirt-qemu:x:64055:64055::/:/usr/sbin/nologin "$1"
known group libvirt-qemu:x:64055: "$1"
[ -z "$3" ] || /usr/sbin/virtlockd -d -p "$1/virtlockd.pid"
options=
[ ! -e "$1/etc/libvirt/libvirtd.conf" ] || options=--listen
exec /usr/sbin/libvirtd $options -p "$1/libvirtd.pid"
"""


@dataclass(frozen=True)
class Drive:
    """A disk of a domain: target vda, vdb …, and its image."""
    target: str
    image: str
    fmt: str = "qcow2"
    extra: str = ""    # elements, as <readonly/>
    driver: str = ""   # attributes of <driver>
    device: str = "disk"

    def xml(self):
        return (f"<disk type='file' device='{self.device}'>"
                f"<driver name='qemu' type='{self.fmt}' {self.driver}/>"
                f"<source file='{escape(self.image)}'/>"
                f"<target dev='{self.target}' bus='{_bus(self)}'/>"
                f"{self.extra}</disk>")


def _bus(drive):
    return "sata" if drive.device == "cdrom" else "virtio"


class VirshError(AssertionError):
    """virsh failed; the text is what it said."""


class Libvirtd:
    """A context manager; its end takes the daemon and all domains away.

    directory is private to the test; cache, which tests may share, keeps what
    libvirt has found out about QEMU.  One with a configuration of its own
    listens; qemu is more of that of QEMU, and within are the words of a
    command in which all runs.  With locks, a lock manager keeps leases of the
    disks.
    """

    def __init__(self, directory, cache, listen="", qemu="", within=(),
                 locks=False):
        self.locks = locks
        self.directory = os.path.join(str(directory), "lv")
        self.cache = str(cache)
        self.config = {"libvirtd": listen, "qemu":
                       _CONFIG + (_LOCKS if locks else "") + qemu}
        self.within = within
        self.process = None
        self.socket = os.path.join(self.directory,
                                   "run/libvirt/libvirt-sock")

    @property
    def uri(self):
        return f"qemu+unix:///system?socket={self.socket}"

    def __enter__(self):
        os.makedirs(f"{self.directory}/etc/libvirt")
        for name, text in self.config.items():
            if text:
                with open(f"{self.directory}/etc/libvirt/{name}.conf", "w",
                          encoding="utf-8") as file:
                    file.write(text)
        self.start_daemon()
        return self

    def __exit__(self, *exc):
        self.stop_daemon(signal.SIGKILL)
        for pid in self.guests() + self.lock_managers():
            os.kill(pid, signal.SIGKILL)

    def start_daemon(self):
        """Start libvirtd and wait until it answers."""
        with open(f"{self.directory}/libvirtd.out", "ab") as log:
            self.process = subprocess.Popen(
                [*self.within, "unshare", "-m", "--propagation", "private",
                 "sh", "-c", _SETUP, "sh", self.directory, self.cache,
                 "locks" if self.locks else ""],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True, preexec_fn=dies_with_us())
        wait_for(self._answers, DEADLINE, "libvirtd to answer")

    def _answers(self):
        if self.process.poll() is not None:
            raise AssertionError(f"libvirtd ended\n{self.said()}")
        return os.path.exists(self.socket) and not self._virsh("list")[0]

    def said(self):
        """What libvirtd has said so far: warnings and errors."""
        with open(f"{self.directory}/libvirtd.out", encoding="utf-8",
                  errors="replace") as log:
            return log.read()

    def stop_daemon(self, how=signal.SIGTERM):
        """End libvirtd; its domains go on."""
        self.process.send_signal(how)
        self.process.wait(DEADLINE)

    def in_namespace(self, *command):
        """Run a command where libvirtd and the QEMUs are."""
        subprocess.run(["nsenter", "-m", "-t", str(self.process.pid),
                        *command], check=True)

    def guests(self):
        """Pids of the QEMUs."""
        found = []
        run = f"{self.directory}/run/libvirt/qemu"
        for name in os.listdir(run) if os.path.isdir(run) else []:
            if name.endswith(".pid"):
                with open(f"{run}/{name}", encoding="ascii") as file:
                    found.append(int(file.read()))
        return [pid for pid in found if os.path.exists(f"/proc/{pid}")]

    def lock_managers(self):
        """Pids of those."""
        path = f"{self.directory}/virtlockd.pid"
        if not os.path.exists(path):
            return []
        with open(path, encoding="ascii") as file:
            return [int(file.read())]

    def _virsh(self, *words):
        done = subprocess.run(
            ["virsh", "-q", "-c", self.uri, *map(str, words)], check=False,
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=4 * DEADLINE, env={**os.environ, "LC_ALL": "C"})
        return done.returncode, done.stdout, done.stderr

    def virsh(self, *words):
        """What a virsh command prints."""
        code, out, error = self._virsh(*words)
        if code:
            raise VirshError(f"virsh {' '.join(map(str, words))}: {error}")
        return out.strip()

    def start(self, name, drives, paused=False, **more):
        """Define and start a domain; more as in define()."""
        domain = self.define(name, drives, **more)
        domain.start(paused)
        return domain

    def define(self, name, drives, devices="", features="", memory=64,
               boot=""):
        """Define a domain; boot is more of its <os>."""
        path = f"{self.directory}/{name}.xml"
        with open(path, "w", encoding="utf-8") as file:
            file.write(
                f"<domain type='qemu'><name>{escape(name)}</name>"
                f"<memory unit='MiB'>{memory}</memory><vcpu>1</vcpu>"
                f"{features}<os><type arch='x86_64' machine='q35'>hvm</type>"
                f"{boot}</os><devices>"
                f"{''.join(drive.xml() for drive in drives)}"
                f"<memballoon model='none'/>{devices}</devices></domain>")
        self.virsh("define", path)
        return Domain(self, name)


class Domain:
    """A domain that was defined."""

    def __init__(self, libvirt, name):
        self.libvirt, self.name = libvirt, name

    def virsh(self, command, *words):
        """What it prints; where the domain has ended, why is in the error."""
        try:
            return self.libvirt.virsh(command, self.name, *words)
        except VirshError as error:
            if "not running" in str(error):
                raise VirshError(f"{error}{self._last_words()}") from error
            raise

    def _log(self):
        return f"{self.libvirt.directory}/var/log/libvirt/qemu/{self.name}.log"

    def _last_words(self):
        with open(self._log(), encoding="utf-8", errors="replace") as log:
            return log.read()[-1000:]

    def start(self, paused=False):
        self.virsh("start", *(["--paused"] if paused else []))

    @property
    def pid(self):
        """Of its QEMU."""
        path = f"{self.libvirt.directory}/run/libvirt/qemu/{self.name}.pid"
        with open(path, encoding="ascii") as file:
            return int(file.read())

    def domstate(self):
        """As "running (booted)"."""
        return self.virsh("domstate", "--reason")

    def qmp(self, command, **arguments):
        """A QMP command; it taints the domain, which none of ours does."""
        text = {"execute": command, "arguments": arguments}
        answer = json.loads(self.virsh("qemu-monitor-command",
                                       json.dumps(text)))
        assert "return" in answer, answer
        return answer["return"]

    def _backend(self, target):
        for block in self.qmp("query-block"):
            if block.get("qdev", "").startswith("/machine/peripheral/"):
                if self._alias(target) == block["qdev"].split("/")[3]:
                    return block["qdev"]
        raise KeyError(target)

    def _alias(self, target):
        xml = self.virsh("dumpxml")
        for disk in re.findall("<disk .*?</disk>", xml, re.S):
            if f"<target dev='{target}'" in disk:
                return re.search("<alias name='(.*?)'", disk)[1]
        raise KeyError(target)

    def qemu_io(self, target, command):
        """Done by QEMU itself on the live disk; the answer must be good."""
        size = os.path.getsize(self._log())
        said = self.virsh("qemu-monitor-command", "--hmp",
                          f'qemu-io -d {self._backend(target)} "{command}"')
        with open(self._log(), encoding="utf-8", errors="replace") as file:
            file.seek(size)
            said += file.read()
        assert not re.search("fail|error|invalid|verif", said, re.I), said
        return said

    def write(self, target, offset, length, pattern):
        """Have a pattern written to the live disk."""
        self.qemu_io(target, f"write -P {pattern} {offset} {length}")

    def reads(self, target, offset, length, pattern):
        """Assert that the live disk has this pattern there."""
        self.qemu_io(target, f"read -P {pattern} {offset} {length}")

    def checkpoints(self):
        """The names of libvirt's checkpoints, sorted."""
        return sorted(self.virsh("checkpoint-list", "--name").split())

    def job(self):
        """"None", or what libvirt says of the job that runs."""
        return self.virsh("domjobinfo").split("\n")[0].split(":")[1].strip()

    def note(self):
        """Whether a note of fleecefs's is in the domain's XML."""
        return "fleecefs" in self.virsh("dumpxml")

    def taints(self):
        """What libvirt says of it that is out of the ordinary."""
        return [line for line in self.virsh("dominfo").splitlines()
                if "tainted" in line and "privileges" not in line]

    def state(self):
        """A picture that a mount must put back."""
        nodes = self.qmp("query-named-block-nodes")
        return {
            "state": self.domstate().split(" ")[0],
            "job": self.job(),
            "checkpoints": self.checkpoints(),
            "note": self.note(),
            "nodes": sorted(node["node-name"] for node in nodes),
            "bitmaps": sorted(
                (node["node-name"], bitmap.get("name", "")) for node in nodes
                for bitmap in node.get("dirty-bitmaps", [])),
            "exports": self.qmp("query-block-exports"),
            "jobs": self.qmp("query-jobs"),
            "block-jobs": self.qmp("query-block-jobs"),
        }
