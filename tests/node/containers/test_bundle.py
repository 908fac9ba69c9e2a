"""The OCI configuration is decided purely: pod, image and host in, config.json and warnings out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from petset.node.containers import bundle, cgroups, host, oci, seccomp, users
from petset.node.containers.users import User, UserError
from petset.node.runtime import ContainerConfig, Image, Mount, RuntimeError_, Warning_

HOST = bundle.Host(capabilities=(*bundle.DEFAULT_CAPABILITIES, "CAP_NET_ADMIN", "CAP_SYS_ADMIN"), open_files_max=4096)
PLACES = bundle.Places(
    rootfs="/s/rootfs",
    cgroup="/petset_1/podu/c",
    network="/s/net",
    uts="/s/uts",
    ipc="/s/ipc",
    shm="/s/shm",
    hosts="/s/hosts",
    hostname_file="/s/hostname",
    resolv_conf="/s/resolv.conf",
    termination_log="/s/termination-log",
    volumes="/s/volumes",
    hostname="web-0",
)


def configured(
    pod_spec: dict[str, Any] | None = None, host: bundle.Host = HOST, places: bundle.Places = PLACES, **container: Any
) -> tuple[dict[str, Any], list[Warning_]]:
    mounts = tuple(container.pop("mounts", ()))
    default = container.pop("seccomp_default", seccomp.UNCONFINED)
    pod = {
        "metadata": {"name": "web-0", "namespace": "default", "uid": "u"},
        "spec": {"containers": [], **(pod_spec or {})},
    }
    wanted = ContainerConfig(
        pod_uid="u",
        name="main",
        attempt=0,
        image=Image("i", "sha256:0", "/image", env=("PATH=/opt/bin", "LANG=C"), working_dir="/work"),
        command=("serve", "--now"),
        env=(("LANG", "de"), ("A", "b=c")),
        working_dir="",
        mounts=mounts,
        pod=pod,
        container={"name": "main", **container},
    )
    return bundle.config(wanted, places, User(5, 6, (6, 7)), host, pids_max=100, seccomp_default=default)


def test_the_process():
    config, warnings = configured()
    held = list(bundle.DEFAULT_CAPABILITIES)
    assert warnings == []
    assert config["process"] == {
        "terminal": False,
        "user": {"uid": 5, "gid": 6, "additionalGids": [6, 7]},
        "args": ["serve", "--now"],
        "env": ["PATH=/opt/bin", "HOSTNAME=web-0", "LANG=de", "A=b=c"],
        "cwd": "/work",
        "capabilities": {"bounding": held, "effective": held, "permitted": held},
        "rlimits": [{"type": "RLIMIT_NOFILE", "soft": 4096, "hard": 4096}],
        "noNewPrivileges": False,
        "oomScoreAdj": 1000,
    }


def test_namespaces_are_the_sandbox_s_but_for_pid_and_mount():
    config, _ = configured()
    assert config["linux"]["namespaces"] == [
        {"type": "mount"},
        {"type": "pid"},
        {"type": "network", "path": "/s/net"},
        {"type": "uts", "path": "/s/uts"},
        {"type": "ipc", "path": "/s/ipc"},
        {"type": "cgroup"},
    ]
    of_host, _ = configured({"hostNetwork": True, "hostPID": True}, places=replace(PLACES, network="", uts=""))
    assert of_host["linux"]["namespaces"] == [{"type": "mount"}, {"type": "ipc", "path": "/s/ipc"}, {"type": "cgroup"}]
    old, _ = configured(host=replace(HOST, cgroups="hybrid"))
    assert {"type": "cgroup"} not in old["linux"]["namespaces"]


@pytest.mark.parametrize(
    ("asked", "changes"),
    [
        ({}, (set(), set())),
        ({"drop": ["ALL"]}, (set(), set(bundle.DEFAULT_CAPABILITIES))),
        ({"drop": ["ALL"], "add": ["CHOWN"]}, (set(), set(bundle.DEFAULT_CAPABILITIES) - {"CAP_CHOWN"})),
        ({"drop": ["net_raw"]}, (set(), {"CAP_NET_RAW"})),
        ({"add": ["CAP_NET_ADMIN"]}, ({"CAP_NET_ADMIN"}, set())),
        ({"add": ["ALL"]}, ({"CAP_NET_ADMIN", "CAP_SYS_ADMIN"}, set())),
        ({"add": ["ALL"], "drop": ["SYS_ADMIN"]}, ({"CAP_NET_ADMIN"}, set())),
    ],
)
def test_capabilities(asked, changes):
    config, warnings = configured(securityContext={"capabilities": asked})
    held = config["process"]["capabilities"]["bounding"]
    more, fewer = changes
    assert sorted(held) == sorted((set(bundle.DEFAULT_CAPABILITIES) | more) - fewer)
    assert warnings == []


def test_a_capability_petset_lacks_is_left_out_and_told():
    config, warnings = configured(securityContext={"capabilities": {"add": ["SYS_RESOURCE"]}})
    assert "CAP_SYS_RESOURCE" not in config["process"]["capabilities"]["effective"]
    assert warnings == [Warning_("CapabilityNotGranted", "cannot add CAP_SYS_RESOURCE: petset itself does not hold it")]
    fewer = replace(HOST, capabilities=("CAP_CHOWN",))
    config, warnings = configured(host=fewer)  # Nobody asked for the usual ones, so nobody is told.
    assert (config["process"]["capabilities"]["bounding"], warnings) == (["CAP_CHOWN"], [])


def test_privileged():
    config, _ = configured(securityContext={"privileged": True, "allowPrivilegeEscalation": False})
    linux = config["linux"]
    assert config["process"]["capabilities"]["bounding"] == list(HOST.capabilities)
    assert config["process"]["noNewPrivileges"] is False
    assert "maskedPaths" not in linux and "readonlyPaths" not in linux and "seccomp" not in linux
    assert linux["resources"]["devices"] == [{"allow": True, "access": "rwm"}]
    assert next(m for m in config["mounts"] if m["destination"] == "/sys")["options"][-1] == "rw"


def test_hardening():
    config, _ = configured(securityContext={"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True})
    assert config["process"]["noNewPrivileges"] is True
    assert config["root"] == {"path": "/s/rootfs", "readonly": True}
    by_target = {mount["destination"]: mount for mount in config["mounts"]}
    assert by_target["/etc/hosts"]["options"] == ["rbind", "rprivate", "ro"]
    assert by_target["/dev/termination-log"]["options"] == ["rbind", "rprivate", "rw"]
    assert "/proc/kcore" in config["linux"]["maskedPaths"] and "/proc/sys" in config["linux"]["readonlyPaths"]


def test_limits():
    asked = {"requests": {"cpu": "250m", "memory": "10Mi"}, "limits": {"cpu": "1500m", "memory": "64Mi"}}
    config, warnings = configured(resources=asked)
    assert warnings == []
    assert config["linux"]["resources"] == {
        "devices": [{"allow": False, "access": "rwm"}],
        "memory": {"limit": 64 << 20, "swap": 64 << 20},
        "cpu": {"shares": 256, "quota": 150_000, "period": 100_000},
        "pids": {"limit": 100},
    }
    assert configured()[0]["linux"]["resources"]["cpu"] == {"shares": 2}


def test_processes_may_be_without_limit():
    wanted, host = {"resources": {}}, HOST
    assert bundle.resources(wanted, False, host, oci.PIDS_MAX, [])["pids"] == {"limit": 1024}
    assert "pids" not in bundle.resources(wanted, False, host, -1, [])


def test_a_limit_without_its_controller_is_told():
    asked = {"limits": {"cpu": "1", "memory": "64Mi"}}
    bare = replace(HOST, controllers=(), swap_limits=False, cpu_quota=False)
    config, warnings = configured(host=bare, resources=asked)
    assert config["linux"]["resources"] == {"devices": [{"allow": False, "access": "rwm"}]}
    assert [warning.reason for warning in warnings] == ["LimitNotApplied", "LimitNotApplied"]


@pytest.mark.parametrize(
    ("resources", "score"),
    [
        ({}, 1000),
        ({"limits": {"cpu": "1", "memory": "1Gi"}}, -997),
        ({"requests": {"memory": "512Mi"}}, 500),
        ({"requests": {"memory": "1Ki"}}, 999),
        ({"requests": {"memory": "9Gi"}}, 3),
    ],
)
def test_oom_score_by_quality_of_service(resources, score):
    container = {"name": "c", "resources": resources}
    pod = {"metadata": {"name": "p"}, "spec": {"containers": [container]}}
    assert bundle.oom_score_adj(pod, container, 1 << 30) == score


def test_an_oom_score_below_petset_s_own_needs_a_right():
    guaranteed = {"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}}
    pod = {"containers": [{"name": "main", **guaranteed}]}
    config, _ = configured(pod, host=replace(HOST, oom_score_adj_min=0), **guaranteed)
    assert config["process"]["oomScoreAdj"] == 0


def test_mounts_of_the_container_come_last_outer_ones_first_and_win():
    config, _ = configured(
        mounts=(
            Mount("/v/b", "/data/deep/", read_only=True),
            Mount("/v/a", "/data", propagation="HostToContainer"),
            Mount("/v/hosts", "/etc/hosts"),
            Mount("", "/cache", kind="tmpfs", size_bytes=1024),
        )
    )
    assert [(one["destination"], one["source"], one["options"]) for one in config["mounts"][-7:]] == [
        ("/data", "/s/volumes/1", ["rbind", "rslave", "rw"]),
        ("/cache", "tmpfs", ["nosuid", "nodev", "mode=1777", "rw", "size=1024"]),
        ("/etc/hostname", "/s/hostname", ["rbind", "rprivate", "rw"]),
        ("/etc/resolv.conf", "/s/resolv.conf", ["rbind", "rprivate", "rw"]),
        ("/dev/termination-log", "/s/termination-log", ["rbind", "rprivate", "rw"]),
        ("/data/deep", "/s/volumes/0", ["rbind", "rprivate", "ro"]),
        ("/etc/hosts", "/s/volumes/2", ["rbind", "rprivate", "rw"]),
    ]
    assert [mount["destination"] for mount in config["mounts"]].count("/etc/hosts") == 1
    assert config["linux"]["rootfsPropagation"] == "rslave"


def test_seccomp_by_profile_type():
    profile = {"defaultAction": "SCMP_ACT_ERRNO", "syscalls": []}
    on = replace(HOST, seccomp_profile=profile)
    asked = {"securityContext": {"seccompProfile": {"type": "RuntimeDefault"}}}
    assert "seccomp" not in configured(host=on)[0]["linux"]
    assert configured(asked, host=on)[0]["linux"]["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    own = {"seccompProfile": {"type": "Unconfined"}}
    assert "seccomp" not in configured(asked, host=on, securityContext=own)[0]["linux"]
    confined = configured(host=on, seccomp_default="RuntimeDefault")[0]["linux"]
    assert confined["seccomp"]["defaultAction"] == "SCMP_ACT_ERRNO"
    assert "seccomp" not in configured(host=on, seccomp_default="RuntimeDefault", securityContext=own)[0]["linux"]
    lord = {"privileged": True}
    assert "seccomp" not in configured(host=on, seccomp_default="RuntimeDefault", securityContext=lord)[0]["linux"]
    with pytest.raises(RuntimeError_, match="install golang-github-containers-common"):
        configured(asked)
    with pytest.raises(RuntimeError_, match="there is no 'mine"):
        configured({"securityContext": {"seccompProfile": {"type": "Localhost", "localhostProfile": "mine.json"}}})


def test_seccomp_rules_that_hold_here():
    def rule(name: str, **conditions: Any) -> dict[str, Any]:
        return {"names": [name], "action": "SCMP_ACT_ALLOW", "args": [], "comment": "", **conditions}

    profile = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 38,
        "defaultErrno": "ENOSYS",
        "archMap": [
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": None},
        ],
        "syscalls": [
            rule("read"),
            rule("arch_prctl", includes={"arches": ["amd64"]}),
            rule("sync_file_range2", includes={"arches": ["ppc64le"]}),
            rule("chroot", includes={"caps": ["CAP_SYS_CHROOT"]}),
            rule("bpf", includes={"caps": ["CAP_BPF", "CAP_SYS_CHROOT"]}),
            rule("mount", excludes={"caps": ["CAP_SYS_CHROOT", "CAP_BPF"]}),
            rule("ptrace", includes={"minKernel": "4.8"}),
            rule("newer", includes={"minKernel": "6.10"}),
            {
                "names": ["socket"],
                "action": "SCMP_ACT_ERRNO",
                "errnoRet": 22,
                "errno": "EINVAL",
                "args": [{"index": 0, "value": 16, "valueTwo": 0, "op": "SCMP_CMP_EQ"}],
            },
        ],
    }
    converted = seccomp.convert(profile, "x86_64", ["CAP_SYS_CHROOT"], (6, 9))
    assert converted["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert [name for entry in converted["syscalls"] for name in entry["names"]] == [
        "read",
        "arch_prctl",
        "chroot",
        "ptrace",
        "socket",
    ]
    assert converted["syscalls"][-1] == {
        "names": ["socket"],
        "action": "SCMP_ACT_ERRNO",
        "errnoRet": 22,
        "args": [{"index": 0, "value": 16, "valueTwo": 0, "op": "SCMP_CMP_EQ"}],
    }
    assert converted["defaultErrnoRet"] == 38 and "defaultErrno" not in converted


PASSWD = "root:x:0:0:root:/root:/bin/sh\nredis:x:999:998:redis:/data:/bin/sh\nbroken\n"
GROUP = "root:x:0:\nredis:x:998:\nextra:x:1500:redis,other\n"


@pytest.mark.parametrize(
    ("image_user", "pod", "container", "expected"),
    [
        ("", {}, {}, User(0, 0, (0,))),
        ("redis", {}, {}, User(999, 998, (998, 1500))),
        ("999", {}, {}, User(999, 998, (998, 1500))),
        ("1234", {}, {}, User(1234, 0, (0,))),
        ("redis:extra", {}, {}, User(999, 1500, (1500,))),
        ("5:6", {}, {}, User(5, 6, (6,))),
        ("redis", {"runAsUser": 0}, {}, User(0, 0, (0,))),
        ("redis", {"runAsUser": 7}, {"runAsUser": 8}, User(8, 0, (0,))),
        ("redis", {"runAsGroup": 70}, {}, User(999, 70, (70, 1500))),
        ("redis", {"fsGroup": 50, "supplementalGroups": [60, 50]}, {}, User(999, 998, (998, 1500, 50, 60))),
        ("redis", {"supplementalGroupsPolicy": "Strict", "fsGroup": 5}, {}, User(999, 998, (998, 5))),
        ("redis", {"runAsNonRoot": True}, {}, User(999, 998, (998, 1500))),
    ],
)
def test_users(image_user, pod, container, expected):
    found = users.resolve({"spec": {"securityContext": pod}}, {"securityContext": container}, image_user, PASSWD, GROUP)
    assert found == expected


@pytest.mark.parametrize(
    ("image_user", "pod", "message"),
    [
        ("nobody", {}, 'the image has no user "nobody"'),
        ("redis:none", {}, 'the image has no group "none"'),
        ("", {"runAsNonRoot": True}, "container has runAsNonRoot and the image will run as root"),
        ("redis", {"runAsNonRoot": True, "runAsUser": 0}, "container has runAsNonRoot and runAsUser is 0"),
        ("99999999999", {}, "too large"),
    ],
)
def test_users_that_cannot_be(image_user, pod, message):
    with pytest.raises(UserError, match=message):
        users.resolve({"spec": {"securityContext": pod}}, {}, image_user, PASSWD, GROUP)


def test_cgroup_versions():
    v2 = "31 23 0:28 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate"
    v1 = (
        "31 23 0:28 / /sys/fs/cgroup rw - tmpfs tmpfs rw\n"
        "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
        "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,name=systemd"
    )
    hybrid = f"{v1}\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"
    assert cgroups.detect(v2).version == "v2"
    assert cgroups.detect(v1) == cgroups.Cgroups(
        "v1",
        {
            "cpu": "/sys/fs/cgroup/cpu,cpuacct",
            "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
            "name=systemd": "/sys/fs/cgroup/systemd",
        },
    )
    assert cgroups.detect(v1).controllers == ("cpu", "cpuacct")
    assert (cgroups.detect(hybrid).version, cgroups.detect(hybrid).controllers) == ("hybrid", ("cpu", "cpuacct"))
    hidden = f"{hybrid}\n50 31 0:40 / /sys/fs/cgroup rw - tmpfs none rw"  # As it is for who is not root.
    assert (cgroups.detect(hidden).version, cgroups.detect(hidden).controllers) == ("none", ())
    assert cgroups.detect("22 27 0:21 / /proc rw - proc proc rw").version == "none"


def test_held_capabilities_are_those_petset_has_and_may_hand_on():
    status = "Name:\tpetset\nCapPrm:\t0000000000000007\nCapEff:\t0000000000000007\nCapBnd:\t0000000000000005\n"
    assert host.held_capabilities(status, 40) == ("CAP_CHOWN", "CAP_DAC_READ_SEARCH")


@pytest.mark.parametrize(
    ("shares", "weight"), [(0, 1), (2, 1), (512, 20), (1024, 39), (262_144, 10_000), (1 << 30, 10_000)]
)
def test_shares_of_version_1_are_weights_of_version_2(shares, weight):
    assert cgroups.weight_of(shares) == weight


def test_a_pod_is_limited_where_its_controllers_are(tmp_path):
    one = cgroups.Cgroups("v1", {"cpu": str(tmp_path / "cpu"), "memory": str(tmp_path / "memory")})
    two = cgroups.Cgroups("v2", {"unified": str(tmp_path / "unified")})
    for name in ("cpu", "memory", "unified"):
        (tmp_path / name / "g").mkdir(parents=True)
    for groups in (one, two):
        assert cgroups.limit(groups, "/g", 64 << 20, 500) == []
    found = {str(path.relative_to(tmp_path)): path.read_text() for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {
        "cpu/g/cpu.cfs_quota_us": "50000",
        "memory/g/memory.limit_in_bytes": str(64 << 20),
        "unified/g/memory.max": str(64 << 20),
        "unified/g/cpu.max": "50000 100000",
    }
    assert cgroups.limit(one, "/g", 0, 0) == [] and cgroups.limit(
        cgroups.Cgroups("none", {"unified": "/x"}), "/g", 1, 1
    )


def test_a_group_is_weighed_where_its_cpu_controller_is(tmp_path):
    one = cgroups.Cgroups("hybrid", {"cpu": str(tmp_path / "cpu"), "unified": str(tmp_path / "unified")})
    two = cgroups.Cgroups("v2", {"unified": str(tmp_path / "unified")})
    for name in ("cpu", "unified"):
        (tmp_path / name / "g").mkdir(parents=True)
    cgroups.weigh(one, "/g", 512)
    cgroups.weigh(two, "/g", 512)
    assert (tmp_path / "cpu" / "g" / "cpu.shares").read_text() == "512"
    assert (tmp_path / "unified" / "g" / "cpu.weight").read_text() == "20"
    cgroups.weigh(two, "/absent", 512)
    cgroups.weigh(cgroups.Cgroups("none", {}), "/g", 512)
