"""Builds the image of a recipe.

`build` gets an OCI layout that holds the parent image under the tag "image", unpacks it with umoci (the base is made by
mmdebstrap instead), installs packages with the host's apt, copies files, runs the steps, removes what nobody needs,
and packs what changed as one layer. The image store (images.py) decides when, keeps the parents, and publishes.

Invariants: everything that runs for the image runs in mount, process and network namespaces of its own, so a build that
is killed leaves nothing mounted and nothing running; nothing is written outside the work folder and the package cache.
The package source is the host's own apt configuration, read when building; no mirror is written here or in an image.
Times in an image are not later than SOURCE_DATE_EPOCH.
Follows: OCI image-spec 1.0, deb-src sources.list(5), reproducible-builds.org's SOURCE_DATE_EPOCH.
"""

from __future__ import annotations

import glob
import os
import platform
import re
import shutil
import stat
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from petset.base import tasks
from petset.node import programs
from petset.node.images import distributions, recipes

SOURCE_DATE_EPOCH = 1470182400  # 2016-08-03: the day of the post that petset grew from.
BUILD_SECONDS_MAX = 1800.0
PACKAGE_LISTS_SECONDS_MAX = 3600.0
TAG = "image"

Progress = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where one build happens. All but `packages` is removed afterwards, whatever happens."""

    work: str  # scratch, on the store's file system
    layout: str  # an OCI layout; the parent under TAG before, the new image under TAG after
    packages: str  # package lists and archives, shared by builds


async def build(recipe: recipes.Recipe, space: Workspace, progress: Progress) -> str:
    """Replace the parent under TAG by the recipe's image; the path of its root file system, as it was packed."""
    if os.geteuid() != 0:
        raise recipes.RecipeError(
            f'cannot build image "{recipe.name}": only root can make file systems; run petset as root'
        )
    bundle = os.path.join(space.work, "bundle")
    rootfs = os.path.join(bundle, "rootfs")
    image = f"{space.layout}:{TAG}"
    builder = _Builder(recipe, space, rootfs, progress)
    try:
        if recipe.parent == recipes.BASE:
            await builder.umoci("new", "--image", image)
        await builder.umoci("unpack", "--keep-dirlinks", "--image", image, bundle)
        await builder.prepare_packages()
        if recipe.parent == recipes.BASE:
            await builder.bootstrap()
        if recipe.packages:
            await builder.install()
        await builder.unpack(recipe.unpack, rootfs)
        if recipe.maven:
            await builder.fetch_jars()
        if recipe.python:
            await builder.copy_distributions()
        for folder in (*recipes.included(recipe), os.path.join(recipe.folder, "files")):
            await tasks.in_thread(copy_files, folder, rootfs)
        if recipe.run:
            await builder.run_steps()
        await tasks.in_thread(clean, rootfs, (*recipe.exclude, *recipe.remove))
        progress(f"{recipe.name}: packing")
        await builder.pack(image, bundle)
    except programs.ProgramFailed as error:
        raise recipes.RecipeError(_failure(recipe, error)) from error
    return rootfs


class _Builder:
    """The steps of one build, each a program or two."""

    def __init__(self, recipe: recipes.Recipe, space: Workspace, rootfs: str, progress: Progress):
        self.recipe = recipe
        self.space = space
        self.rootfs = rootfs
        self.progress = progress
        self.env = {
            "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "HOME": "/root",
            "LC_ALL": "C.UTF-8",
            "DEBIAN_FRONTEND": "noninteractive",
            "SOURCE_DATE_EPOCH": str(SOURCE_DATE_EPOCH),
            "APT_CONFIG": self.apt_config,
            "TMPDIR": space.work,
            **{name: value for name, value in os.environ.items() if name.lower().endswith("_proxy")},
        }

    @property
    def apt_config(self) -> str:
        return os.path.join(self.space.work, "apt.conf")

    @property
    def sources(self) -> str:
        return os.path.join(self.space.packages, "sources.list")

    @property
    def archives(self) -> str:
        return os.path.join(self.space.packages, "archives")

    async def program(self, *argv: str, cwd: str | None = None, env: Mapping[str, str] = {}) -> list[str]:
        return await programs.run(
            argv, timeout_seconds=BUILD_SECONDS_MAX, env={**self.env, **env}, cwd=cwd, on_line=self._line
        )

    def _line(self, line: str) -> None:
        for pattern, say in _TELLING:
            found = pattern.match(line)
            if found:
                self.progress(f"{self.recipe.name}: {say.format(*found.groups())}")

    async def umoci(self, *argv: str) -> None:
        await self.program("umoci", *argv)

    async def prepare_packages(self) -> None:
        """Package sources and lists of this host, for use on the image's file system."""
        sources = await host_sources()
        for folder in ("lists/partial", "archives/partial", "state"):
            os.makedirs(os.path.join(self.space.packages, folder), exist_ok=True)
        same = _read(self.sources) == sources
        _write(self.sources, sources)
        _write(self.apt_config, apt_settings(self.space.packages, self.rootfs, await host_acquire_settings()))
        stamp = os.path.join(self.space.packages, "updated")
        fresh = os.path.exists(stamp) and tasks.now() - os.stat(stamp).st_mtime < PACKAGE_LISTS_SECONDS_MAX
        if same and fresh:
            return
        self.progress(f"{self.recipe.name}: reading the package lists")
        try:
            await self.program("apt-get", "update", "-q", "-o", "APT::Update::Error-Mode=any")
            _write(stamp, "")
        except programs.ProgramFailed as error:
            if not os.path.exists(stamp):
                raise
            self.progress(f"{self.recipe.name}: the package lists stay as they were: {error.why}")

    async def bootstrap(self) -> None:
        """The base system, by mmdebstrap, from the host's own release."""
        self.progress(f"{self.recipe.name}: making the base system")
        settings = [f"--aptopt={line}" for line in await host_acquire_settings()]
        exclude = [f"--dpkgopt=path-exclude={path}" for path in self.recipe.exclude]
        hooks = "/usr/share/mmdebstrap/hooks/merged-usr"
        merged = ["--include=usr-is-merged", f"--hook-dir={hooks}"] if os.path.isdir(hooks) else []
        await self.program(
            *ISOLATED, "--mount-proc", "--",
            "mmdebstrap", "--mode=root", "--variant=essential", "--dpkgopt=force-unsafe-io",
            *merged, *settings, *exclude,
            platform.freedesktop_os_release()["VERSION_CODENAME"], self.rootfs, self.sources,
            env={"APT_CONFIG": "/dev/null"},
        )  # fmt: skip

    async def install(self) -> None:
        self.progress(f"{self.recipe.name}: installing {' '.join(self.recipe.packages)}")
        await self.program(
            *ISOLATED, "--", "sh", "-eu", "-c", INSTALL, "install", self.rootfs, self.archives, *self.recipe.packages
        )

    async def unpack(self, packages: Sequence[str], into: str) -> None:
        """The files of packages, without their dependencies and without their scripts."""
        if not packages:
            return
        self.progress(f"{self.recipe.name}: unpacking {' '.join(packages)}")
        for line in await self.program("apt-get", "download", "--print-uris", "-qq", *packages):
            found = re.match(r"'[^']*' (\S+) ", line)
            if not found:
                continue
            archive = os.path.join(self.archives, found[1])
            if not os.path.exists(archive):
                await self.program("apt-get", "download", "-q", found[1].split("_")[0], cwd=self.archives)
            await self.program("sh", "-eu", "-c", EXTRACT, "extract", archive, into)

    async def fetch_jars(self) -> None:
        """Artifacts and all they need at run time, by maven's own client and this host's settings for it."""
        self.progress(f"{self.recipe.name}: fetching {' '.join(self.recipe.maven)}")
        dependencies = "".join(
            "<dependency><groupId>{}</groupId><artifactId>{}</artifactId><version>{}</version></dependency>".format(
                *coordinates.split(":")
            )
            for coordinates in self.recipe.maven
        )
        project = os.path.join(self.space.work, "pom.xml")
        _write(project, POM.format(dependencies=dependencies))
        into = self.rootfs + self.recipe.maven_into
        await self.program(
            "mvn", "--batch-mode", "--quiet", "--file", project, "dependency:copy-dependencies",
            f"-DoutputDirectory={into}", "-DincludeScope=runtime",
            env={name: value for name, value in os.environ.items() if name.startswith(("MAVEN_", "JAVA_"))}
            | {"HOME": os.path.expanduser("~")},
        )  # fmt: skip

    async def copy_distributions(self) -> None:
        """As they are installed here, for an image whose Python is this one's release."""
        name = self.recipe.name
        self.progress(f"{name}: copying {' '.join(self.recipe.python)}")
        if not os.path.isdir(f"{self.rootfs}/usr/lib/{distributions.RELEASE}"):
            has = ", ".join(map(os.path.basename, glob.glob(f"{self.rootfs}/usr/lib/python3.*"))) or "none"
            raise recipes.RecipeError(
                f'cannot build image "{name}": petset runs on {distributions.RELEASE} here, and the image has {has}; '
                "run petset with this machine's own Python"
            )
        await tasks.in_thread(distributions.copy, self.recipe.python, self.rootfs + self.recipe.python_into)

    async def run_steps(self) -> None:
        tools = os.path.join(self.space.work, "tools")
        os.makedirs(tools)
        await self.unpack(self.recipe.tools, tools)
        self.progress(f"{self.recipe.name}: setting up")
        steps = "\n".join(self.recipe.run)
        await self.program(
            *ISOLATED, "--net", "--uts", "--", "sh", "-eu", "-c", STEPS, "steps", self.rootfs, tools, steps
        )

    async def pack(self, image: str, bundle: str) -> None:
        history = ["--history.created_by", f"petset recipe {self.recipe.name}", "--history.created", CREATED]
        await self.umoci("repack", "--image", image, *history, bundle)
        await self.umoci(
            "config", "--image", image, "--no-history", "--created", CREATED, *config_arguments(self.recipe)
        )


CREATED = "2016-08-03T00:00:00Z"
assert tasks.parse_rfc3339(CREATED) == SOURCE_DATE_EPOCH

# setpriv (programs.run) kills unshare when petset dies, --kill-child then everything inside.
ISOLATED = ("unshare", "--mount", "--pid", "--ipc", "--fork", "--kill-child")

_MOUNTS = """
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/shm" "$root/dev/pts"
for device in null zero full random urandom tty; do
  : > "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
"""

POM = (
    "<project><modelVersion>4.0.0</modelVersion><groupId>petset</groupId><artifactId>image</artifactId>"
    "<version>1</version><packaging>pom</packaging><dependencies>{dependencies}</dependencies></project>"
)

# dpkg-deb --extract would put a folder where the base has a link (/lib -> usr/lib).
EXTRACT = """
dpkg-deb --fsys-tarfile "$1" > "$TMPDIR/package.tar"
tar -x -p --numeric-owner --keep-directory-symlink -f "$TMPDIR/package.tar" -C "$2"
rm "$TMPDIR/package.tar"
"""

# A policy-rc.d of 101 keeps a package from starting its daemon.
INSTALL = (
    "root=$1; archives=$2; shift 2"
    + _MOUNTS
    + """
mkdir -p "$root/var/cache/apt/archives/partial" "$root/usr/sbin"
mount --bind "$archives" "$root/var/cache/apt/archives"
printf '#!/bin/sh\nexit 101\n' > "$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
apt-get install -q -y --no-install-recommends "$@"
rm "$root/usr/sbin/policy-rc.d"
"""
)

STEPS = (
    "root=$1; tools=$2; steps=$3"
    + _MOUNTS
    + """
hostname localhost
mkdir "$root/run/tools"
mount --bind "$tools" "$root/run/tools"
export PATH="$PATH:/run/tools/usr/bin:/run/tools/usr/sbin"
libraries=$(find "$root/run/tools" -name 'lib*.so.*' -printf '/run/tools/%P\n' |
  xargs -r -n1 dirname | sort -u | tr '\n' ':')
exec env -u APT_CONFIG -u TMPDIR TOOLS_LIBRARIES="$libraries" chroot "$root" /bin/sh -eu -c "$steps"
"""
)

_TELLING = (
    (re.compile(r"I: (downloading|extracting|installing) (.+)\.\.\.$"), "{} {}"),
    (re.compile(r"Setting up (\S+) .*"), "setting up {}"),
)


async def host_sources() -> str:
    """sources.list lines of the host's own release: its main archive, updates and security, from its apt's settings."""
    try:
        release = platform.freedesktop_os_release()
        lines = await programs.run(
            ("apt-get", "indextargets", "--format", "$(CREATED_BY)|$(REPO_URI)|$(RELEASE)|$(COMPONENT)"),
            timeout_seconds=60,
        )
    except (programs.ProgramFailed, OSError) as error:
        raise recipes.RecipeError(
            f"cannot read this machine's package sources: {error}; run petset on Debian or Ubuntu"
        ) from None
    codename = release.get("VERSION_CODENAME", "")
    suites = (codename, f"{codename}-updates", f"{codename}-security")
    keyring = f"/usr/share/keyrings/{release.get('ID', '')}-archive-keyring.gpg"
    option = f"[signed-by={keyring}] " if os.path.exists(keyring) else ""
    found: dict[str, None] = {}
    for line in lines:
        creator, address, suite, component = (*line.split("|"), "", "", "")[:4]
        if creator == "Packages" and suite in suites and component in ("main", "universe"):
            found[f"deb {option}{address} {suite} {component}"] = None
    if not found:
        raise recipes.RecipeError(
            f'cannot build images: this machine\'s apt has no source for its own release "{codename}"; '
            "add one to /etc/apt/sources.list"
        )
    return "\n".join(found) + "\n"


async def host_acquire_settings() -> list[str]:
    """How this host's apt reaches its mirrors: proxies, certificates, checks, retries."""
    lines = await programs.run(("apt-config", "dump"), timeout_seconds=60)
    wanted = re.compile(
        r"Acquire::(https?|ftp|Check|Retries|ForceIPv|Allow|Max-|Queue)[^ ]* \"[^\"]+\";$", re.IGNORECASE
    )
    return [line for line in lines if wanted.match(line)] + ['Acquire::Languages "none";']


def apt_settings(packages: str, rootfs: str, acquire: Sequence[str]) -> str:
    """An apt.conf that installs into rootfs with the host's apt; apt's other files stay in `packages`."""
    return "\n".join(
        (
            'Dir::Etc::Main "/dev/null";',
            'Dir::Etc::Parts "/dev/null";',
            f'Dir::Etc::SourceList "{packages}/sources.list";',
            'Dir::Etc::SourceParts "/dev/null";',
            'Dir::Etc::Preferences "/dev/null";',
            'Dir::Etc::PreferencesParts "/dev/null";',
            f'Dir::State "{packages}/state";',
            f'Dir::State::Lists "{packages}/lists";',
            f'Dir::State::status "{rootfs}/var/lib/dpkg/status";',
            f'Dir::Cache "{packages}";',
            f'Dir::Cache::archives "{rootfs}/var/cache/apt/archives";',
            'Dir::Log "/dev/null";',
            f'DPkg::Chroot-Directory "{rootfs}";',
            'DPkg::Use-Pty "false";',
            'APT::Sandbox::User "root";',
            'APT::Keep-Downloaded-Packages "true";',
            *acquire,
            "",
        )
    )


def copy_files(source: str, rootfs: str) -> None:
    """The recipe's files/ over the image's: owned by root, 0755 or 0644, links kept."""
    for path in recipes.files(source):
        full, target = os.path.join(source, path), os.path.join(rootfs, path)
        _make_folder(os.path.dirname(target))
        if os.path.islink(full):
            os.symlink(os.readlink(full), target)
            continue
        shutil.copyfile(full, target)
        os.chmod(target, 0o755 if os.stat(full).st_mode & stat.S_IXUSR else 0o644)


def _make_folder(path: str) -> None:
    """A folder and its parents, 0755 whatever the umask; those that exist stay as they are."""
    if not os.path.isdir(path):
        _make_folder(os.path.dirname(path))
        os.mkdir(path)
        os.chmod(path, 0o755)


# What only this machine or this build knows, and what nobody reads in a container.
CLEAN = (
    "/etc/hostname", "/etc/resolv.conf", "/etc/machine-id", "/etc/apt/sources.list", "/etc/apt/apt.conf.d/99mmdebstrap",
    "/etc/passwd-", "/etc/group-", "/etc/shadow-", "/etc/gshadow-", "/etc/subuid-", "/etc/subgid-", "/etc/.pwd.lock",
    "/var/lib/apt/*", "/var/cache/*", "/var/log/*", "/var/lib/dpkg/*-old", "/var/lib/dpkg/lock*",
    "/var/lib/dpkg/triggers/Lock",
    "/var/lib/systemd/*", "/usr/share/doc/*", "/usr/share/man/*", "/usr/share/info/*", "/usr/share/locale/*",
    "/usr/share/lintian", "/usr/share/bug", "/root/.bash_history", "/tmp/*", "/run/*",
)  # fmt: skip


def clean(rootfs: str, patterns: Sequence[str]) -> None:
    """Remove what the image does not need, and let no file be newer than SOURCE_DATE_EPOCH."""
    for pattern in (*CLEAN, *patterns):
        for path in glob.glob(rootfs + pattern, include_hidden=True):
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path)
            elif os.path.lexists(path):
                os.unlink(path)
    for folder, folders, files in os.walk(rootfs, topdown=False):
        for name in (*files, *folders):
            _clamp(os.path.join(folder, name))
    _clamp(rootfs)


def _clamp(path: str) -> None:
    if os.lstat(path).st_mtime > SOURCE_DATE_EPOCH:
        os.utime(path, (SOURCE_DATE_EPOCH, SOURCE_DATE_EPOCH), follow_symlinks=False)


def config_arguments(recipe: recipes.Recipe) -> list[str]:
    """The recipe's part of the image configuration, as arguments of `umoci config`."""
    arguments: list[str] = []
    for flag, values in (("entrypoint", recipe.entrypoint), ("cmd", recipe.command)):
        if values is not None:
            arguments += [f"--clear=config.{flag}", *(f"--config.{flag}={value}" for value in values)]
    for flag, values in (("env", recipe.env), ("exposedports", recipe.ports)):
        arguments += [f"--config.{flag}={value}" for value in values]
    for flag, value in (("workingdir", recipe.working_dir), ("user", recipe.user), ("stopsignal", recipe.stop_signal)):
        if value is not None:
            arguments.append(f"--config.{flag}={value}")
    return arguments


_MISSING = re.compile(
    r"E: (?:Unable to locate package |Package '|Can't find a source to download version \S+ of ')([^\s']+)"
)


def _failure(recipe: recipes.Recipe, error: programs.ProgramFailed) -> str:
    """One sentence for a person: what apt or a step said."""
    what = f'cannot build image "{recipe.name}"'
    for line in error.lines:
        missing = _MISSING.match(line)
        if missing:
            return (
                f"{what}: this machine's apt has no package {missing[1]}; "
                "check the sources in /etc/apt and that the mirror can be reached"
            )
    if error.status is None and not error.lines:
        return f"{what}: {error}; run `petset setup --all`, or install {PACKAGE_OF.get(error.program, error.program)}"
    said = next((line for line in error.lines if re.match(r"(E|Err|error|fatal)\b", line, re.IGNORECASE)), error.why)
    return f"{what}: {error.program} failed: {said}; see what is missing and build again"


PACKAGE_OF = {"apt-get": "apt", "dpkg-deb": "dpkg", "unshare": "util-linux", "mvn": "maven"}


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
