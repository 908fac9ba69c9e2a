"""The verbs on stored objects: get, create, update, patch, delete, for every kind alike.

A write's way: the body checked against its schema, defaults, admission, what the kind prepares and validates, then
the store with the revision that was read. `create`, `change` and `remove` take a `Write` and are the only ways into
the store (events that expire leave it by themselves): of status, scale, binding, eviction and finalize, and of what
the server keeps itself. A change that names no resourceVersion is retried when another write came between; one that
changes nothing is not written; one that takes away the last thing that held a deleted object removes it.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import inspect
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from petset.base import tasks, turns
from petset.objects import encoding, errors, meta, owners, patch, validation
from petset.objects.errors import FieldError
from petset.objects.meta import Json, Object
from petset.objects.registry import APPROVAL, OF_STATUS, Kind
from petset.server import answers, conversion, decoding, deletion, lists, ownership, weight, writes
from petset.server.access import auth, rbac
from petset.server.admission import admission
from petset.server.admission.asking import Others
from petset.server.admission.namespaces.quotas import Quotas
from petset.server.owner_versions import OwnerVersions
from petset.server.routes import Call
from petset.server.writes import Write
from petset.store import store as stores
from petset.wire import http

if TYPE_CHECKING:
    from petset.server.admission.consulted import Asking

WRITE_ATTEMPTS_MAX = 8
REMOVED_AT_ONCE = 100  # Of a collection.
RETRY_SECONDS = 0.005
NOT_ACTED_ON = "this release of petset keeps objects of kind {kind}, and no part of it acts on them"

Review = Callable[[Object, Object], Awaitable[Object]]  # The wanted object and the old one -> the wanted one.
Made = tuple[Object, Sequence[FieldError]]  # (the wanted object, missing fields)
Make = Callable[[Object], Made | Awaitable[Made]]  # From the old object.

# What only the server writes into metadata ...
_SYSTEM_FIELDS = ("uid", "creationTimestamp", "generation", "deletionTimestamp", "deletionGracePeriodSeconds")
_DROPPED_FIELDS = ("selfLink",)
_NAMED_FIELDS = ("name", "namespace", "resourceVersion")  # Which object it is, and which version of it.
_NEW_ONES_OWN = frozenset((*_SYSTEM_FIELDS, *_DROPPED_FIELDS, *_NAMED_FIELDS))  # Given to an object that is made.
# ... and what policies and webhooks may not change, either.
_FIXED_FIELDS = (*_SYSTEM_FIELDS, "name", "generateName", "namespace", "resourceVersion", "managedFields")


class Rest:
    def __init__(
        self,
        store: stores.Store,
        admit: admission.Admission,
        others: Others,
        quotas: Quotas,
        owner_versions: OwnerVersions,
        authorizer: auth.Authorizes,
    ):
        """`authorizer` is asked whether the user may create, where an apply finds nothing."""
        self.store, self.others = store, others
        self._owner_versions, self._authorizer = owner_versions, authorizer
        self._admit, self._quotas = admit, quotas
        self._lists = lists.Lists(store)
        self._turns = turns.Turns()

    async def find(self, resource: Kind, namespace: str, name: str) -> stores.Entry | None:
        """As the kind shows it."""
        key = resource.key(namespace, name)
        await self.store.fresh(key)
        found = self.store.get(key)
        return await conversion.shown(resource, found) if found is not None else None

    async def existing(self, resource: Kind, namespace: str, name: str) -> stores.Entry:
        """As the kind shows it. Raises ApiError 404."""
        await self.store.fresh(resource.key(namespace, name))
        return await conversion.shown(resource, self._stored(resource, namespace, name))

    def _stored(self, resource: Kind, namespace: str, name: str) -> stores.Entry:
        """As it is stored, as far as it has been seen. Raises ApiError 404."""
        found = self.store.get(resource.key(namespace, name))
        if found is None:
            raise errors.not_found(resource.plural, name, resource.group)
        return found

    def _put(self, resource: Kind, key: str, new: Object, expected: int) -> Awaitable[stores.Entry]:
        """Store an object; as the kind shows it then. Raises Conflict."""
        if resource.stored_as is None:
            return self.store.put(key, new, expected)
        return self._put_converted(resource, key, new, expected)

    async def _put_converted(self, resource: Kind, key: str, new: Object, expected: int) -> stores.Entry:
        written = await self.store.put(key, await conversion.stored(resource, new), expected)
        return await conversion.shown(resource, written)

    async def get(self, call: Call) -> http.Response:
        resource, namespace, name = call.resource, call.route.namespace, call.route.name
        await lists.until_fresh(self.store, call, resource.key(namespace, name))
        return answers.entry(call, await conversion.shown(resource, self._stored(resource, namespace, name)))

    async def list(self, call: Call) -> http.Response:
        return await self._lists.answer(call)

    # Create

    async def post(self, call: Call) -> http.Response:
        write = writes.of(call)
        obj, missing = await decoding.posted(call, write)
        return answers.entry(call, await self.create(write, obj, missing), 201)

    async def create(self, write: Write, obj: Object, missing: Sequence[FieldError] = ()) -> stores.Entry:
        """Write a new object; a generated name that is taken is generated again. Raises ApiError."""
        with self._admit.giving(write):
            return await self._created(write, obj, missing)

    async def _created(self, write: Write, obj: Object, missing: Sequence[FieldError]) -> stores.Entry:
        resource = write.resource
        if not resource.acted_on:
            write.warnings.append(NOT_ACTED_ON.format(kind=resource.kind))
        given = obj["metadata"]
        generated = not given.get("name") and bool(given.get("generateName"))
        asking = self.others.asking(write, writes.CREATE)
        for _ in range(WRITE_ATTEMPTS_MAX):
            new = _identified(resource, obj, write.namespace)
            name = new["metadata"].get("name") or ""
            if missing:
                raise errors.invalid(resource.kind, name, missing, resource.group)
            new = await self._admitted(write, new, None, name, asking)
            if not write.dry_run and given.get("resourceVersion"):  # As upstream: only who stores asks.
                raise errors.bad_request("resourceVersion should not be set on objects to be created")
            self._check_size(write, new, b"")
            key = resource.key(write.namespace, name)
            claim = await self._quotas.claimed(write, key, new)
            if write.dry_run:
                await self.store.fresh(key)
                if self.store.get(key) is not None:
                    raise errors.already_exists(resource.plural, name, resource.group)
                return dry_entry(key, new)
            try:
                return await self._put(resource, key, new, 0)
            except stores.Conflict:
                if not generated:
                    raise errors.already_exists(resource.plural, name, resource.group) from None
            finally:
                self._quotas.settle(claim)
        raise errors.already_exists(resource.plural, given.get("generateName") or "", resource.group)

    # Update and patch

    async def put(self, call: Call) -> http.Response:
        write = writes.of(call)
        obj, missing = await decoding.posted(call, write)
        return answers.entry(call, await self.change(write, lambda old: (obj, missing)))

    async def patch(self, call: Call) -> http.Response:
        if writes.is_apply(call):
            write = writes.of(call)
            found, is_new = await self.apply(write, await ownership.configuration(call, call.resource))
            return answers.entry(call, found, 201 if is_new else 200)
        apply = await patch_function(call, call.resource)
        write = writes.of(call)
        warned = list(write.warnings)

        def make(old: Object) -> tuple[Object, list[FieldError]]:
            write.warnings[:] = warned  # An attempt's warnings replace those of the one before.
            return decoding.patched(call, write, apply(old), old)

        return answers.entry(call, await self.change(write, make))

    async def apply(self, write: Write, config: Object) -> tuple[stores.Entry, bool]:
        """(the object that the configuration was applied to, whether it is new). Raises ApiError."""
        resource, warned = write.resource, list(write.warnings)

        def at_once(old: Object) -> Made:
            write.warnings[:] = warned
            return decoding.checked(write, ownership.applied(write, old, config), b"", old)

        def make(old: Object) -> Made | Awaitable[Made]:
            several = self._owner_versions.others(resource, old)
            return self._applied(write, old, config) if several else at_once(old)

        if write.subresource:  # An apply does not make what it is of.
            return await self.change(write, make), False
        key = resource.key(write.namespace, write.name)
        for _ in range(WRITE_ATTEMPTS_MAX):
            await self.store.fresh(key)
            if self.store.get(key) is not None:
                return await self.change(write, make), False
            await self._authorizer.required(write.user, _creation(write))
            obj, missing = at_once(_unborn(write, config))
            creation = dataclasses.replace(write, operation=writes.CREATE, name="")
            try:
                return await self.create(creation, obj, missing), True
            except errors.ApiError as error:
                if error.reason != "AlreadyExists":
                    raise
        raise _crowded(resource, write.name)

    async def _applied(self, write: Write, old: Object, config: Object) -> Made:
        """Of an object that others own fields of in another version of its kind."""
        size = write.size + weight.LOOP_BYTES_MAX  # Nobody waits for it in the loop: it goes over all several times.
        tree = await self._owner_versions.applied(write, size, old, config)
        return await write.work.beside(size, decoding.checked, write, tree, b"", old)

    async def change(self, write: Write, make: Make, review: Review | None = None) -> stores.Entry:
        """Write what `make` makes of the write's object, and what `review` then makes of that. Raises ApiError."""
        with self._admit.giving(write):
            return await self._changed(write, make, review)

    async def _changed(self, write: Write, make: Make, review: Review | None) -> stores.Entry:
        resource, namespace, name = write.resource, write.namespace, write.name
        asking = self.others.asking(write, writes.UPDATE)
        async with self._turn(write, asking, review is not None):
            for attempt in range(WRITE_ATTEMPTS_MAX):
                old = await self.existing(resource, namespace, name)
                before, is_light = old.object, weight.is_light(_size(write, old))
                made = make(before) if is_light else await write.work.in_turn(make, before)
                wanted, missing = await made if inspect.isawaitable(made) else made
                if review is not None:
                    wanted = await review(wanted, before)
                new = wanted if write.is_decided else await self._updated(write, wanted, missing, old, asking)
                if owners.is_unchanged(new, before):
                    return old
                self._check_size(write, new, old.encoded)
                claim = await self._quotas.claimed(write, old.key, new, before)
                if write.dry_run:
                    return dry_entry(old.key, new)
                try:
                    return await self._write(resource, old, new)
                except stores.Conflict:
                    pass
                finally:
                    self._quotas.settle(claim)
                await asyncio.sleep(RETRY_SECONDS * attempt)
        raise _crowded(resource, name)

    def _turn(
        self, write: Write, asking: Asking | None, waits: bool = False
    ) -> contextlib.AbstractAsyncContextManager[None]:
        """Who waits for webhooks holds up nobody, and begins anew when others were quicker."""
        if waits or write.resource.conversion_waits or (asking is not None and asking.waits):
            return contextlib.nullcontext()
        return self._turns.of(write.resource.key(write.namespace, write.name))

    async def _write(self, resource: Kind, old: stores.Entry, new: Object) -> stores.Entry:
        """Raises Conflict when the object is no longer the old one."""
        if not deletion.is_finished(resource, new):
            return await self._put(resource, old.key, new, old.revision)
        removed = await self.store.delete(old.key, old.revision)
        return stores.Entry(
            old.key,
            removed.revision if removed else old.revision,
            old.created_revision,
            encoding.dumps(new),
            new,
        )

    async def _updated(
        self, write: Write, wanted: Object, missing: Sequence[FieldError], old: stores.Entry, asking: Asking | None
    ) -> Object:
        """The next version of an object as it would be stored. Raises ApiError."""
        resource, name, before = write.resource, write.name, old.object
        _check_same(resource, wanted, before, old.revision)
        if missing and write.subresource == "status":  # Of the rest it is the old that counts.
            missing = [one for one in missing if one.field.startswith(("status", "metadata"))]
        if missing:
            raise errors.invalid(resource.kind, name, missing, resource.group)
        new = carried(resource, write.subresource, wanted, before)
        new = await self._admitted(write, new, old, name, asking)
        if _is_new_generation(write, new, before):
            new = meta.changed(new, ("metadata", "generation"), (before["metadata"].get("generation") or 0) + 1)
        return new

    async def _admitted(
        self, write: Write, new: Object, old: stores.Entry | None, name: str, asking: Asking | None
    ) -> Object:
        """The object with its defaults, admitted, prepared and found valid. Raises ApiError.

        A large one is validated, and the rights that it gives are judged, beside the loop, webhooks are waited for, and
        the cluster goes on meanwhile: then admission is asked again, until it has nothing to change in what was valid.
        """
        resource, size, before = write.resource, _size(write, old), old.object if old else None
        is_light = weight.is_light(size * resource.cost)
        others = owners.NO_OTHERS
        if not write.is_applied and (versions := self._owner_versions.others(resource, before, new)):
            others = await self._owner_versions.changed(write, size, versions, new, before)
        if is_light:
            new = ownership.defaulted(write, new, before, others)
        else:
            new = await write.work.in_turn(ownership.defaulted, write, new, before, others)

        def admit(obj: Object) -> Object:
            return self._admit.create(write, obj) if before is None else self._admit.update(write, obj, before)

        if asking is not None:
            asking.request.size = size
            new = await asking.mutated(new, before, admit, _keeper(write, new, before))
        valid: Object | None = None
        for _ in range(WRITE_ATTEMPTS_MAX):
            new = resource.prepare(admit(new), before)
            if new == valid:
                return new
            waited = not is_light
            if self._admit.gives_rights(resource):
                await self._admit.require_held(write, new, before)
                waited = True
            found = _found(write, new, before) if is_light else await write.work.in_turn(_found, write, new, before)
            if found:
                raise errors.invalid(resource.kind, name, found, resource.group)
            waited = await self._admit.check(write, new, before, size) or waited
            if asking is not None and await asking.validate(new, before):
                waited = True
            if not waited:
                return new
            valid = new
        raise _crowded(resource, name)

    def _check_size(self, write: Write, new: Object, old: bytes) -> None:
        """Only what could be too large is encoded to know."""
        if len(old) + write.size > decoding.OBJECT_BYTES_MAX // 2:
            size = len(encoding.dumps(new))
            if size > decoding.OBJECT_BYTES_MAX:
                raise errors.too_large(
                    f"Request entity too large: the object would have {size} bytes and the limit is "
                    f"{decoding.OBJECT_BYTES_MAX}; split it"
                )

    # Delete

    async def delete(self, call: Call) -> http.Response:
        found, gone = await self.remove(writes.of_removal(call, await delete_options(call)))
        shown = await _shown(call, [found]) if not gone else None
        if shown is not None:
            return answers.entry(call, shown[0])
        return answers.tree(call, answers.success(call.resource, call.route.name, meta.uid(found.object)))

    async def remove(self, write: Write) -> tuple[stores.Entry, bool]:
        """(the last version, as it is stored, and whether it is gone already). Raises ApiError.

        It is decided by metadata, which nobody is asked to convert: what cannot be converted can be removed.
        """
        resource, namespace, name = write.resource, write.namespace, write.name
        asking = self.others.asking(write, writes.DELETE)
        async with self._turn(write, asking):
            for attempt in range(WRITE_ATTEMPTS_MAX):
                await self.store.fresh(resource.key(namespace, name))
                old = self._stored(resource, namespace, name)
                self._admit.delete(write, old.object)
                outcome = deletion.decide(resource, old.object, write.options, tasks.now())
                if isinstance(outcome, deletion.Nothing):
                    return old, False
                if asking is not None:
                    asking.request.size = _size(write, old)
                    await asking.require_removal((await conversion.shown(resource, old)).object)
                if write.dry_run:
                    return old, isinstance(outcome, deletion.Remove)
                try:
                    if isinstance(outcome, deletion.Mark):
                        return await self.store.put(old.key, outcome.obj, old.revision), False
                    removed = await self.store.delete(old.key, old.revision)
                    return removed or old, True
                except stores.Conflict:
                    await asyncio.sleep(RETRY_SECONDS * attempt)
        raise _crowded(resource, name)

    async def delete_collection(self, call: Call) -> http.Response:
        write = writes.of_removal(call, await delete_options(call))
        wanted = lists.selection(call)
        await self.store.fresh(wanted.prefix)
        revision, entries = await lists.stored(self.store, call, wanted)
        deleted: list[stores.Entry] = []
        for at in range(0, len(entries), REMOVED_AT_ONCE):
            async with asyncio.TaskGroup() as together:  # They share commits.
                removing = [
                    tasks.spawn(together, self._removed(write, entry), "remove one of a collection")
                    for entry in entries[at : at + REMOVED_AT_ONCE]
                ]
            for found in [task.result() for task in removing]:
                if isinstance(found, Exception):
                    raise found
                if found is not None:
                    deleted.append(found)
        shown = await _shown(call, deleted)
        if shown is None:
            return answers.tree(call, answers.success(call.resource))
        return await answers.object_list(call, shown, {"resourceVersion": str(revision)})

    async def _removed(self, write: Write, entry: stores.Entry) -> stores.Entry | Exception | None:
        """One of a collection; None when somebody else was quicker. An error is for after the others' ends."""
        try:
            metadata = entry.object["metadata"]
            one = dataclasses.replace(write, namespace=metadata.get("namespace", ""), name=metadata["name"])
            found, _ = await self.remove(one)
        except Exception as error:
            return None if isinstance(error, errors.ApiError) and error.code == 404 else error
        return found


async def _shown(call: Call, removed: Sequence[stores.Entry]) -> Sequence[stores.Entry] | None:
    """What was removed, as the kind shows it; None where a webhook does not convert it: that is no reason to stay."""
    try:
        return await conversion.all_shown(call.resource, removed, call.work)
    except errors.ApiError:
        return None


def _size(write: Write, old: stores.Entry | None) -> int:
    """How many bytes a write works on, or seems to: what is slow to check is like what is large."""
    least = weight.LOOP_BYTES_MAX + 1 if write.resource.is_slow_to_check else 0
    return max(write.size, len(old.encoded) if old else 0, least)


def _found(write: Write, new: Object, old: Object | None) -> list[FieldError]:
    """What is wrong with an object, and with the change to it. A spec that a status leaves as it is was valid."""
    resource = write.resource
    found = validation.metadata(resource, new, old)
    if resource.custom is not None:
        return [*found, *resource.custom.validate(new, old)]
    if old is None:
        return [*found, *resource.validate_new(new), *resource.validate(new)]
    if resource.validate_status and write.subresource == "status" and new.get("spec") is old.get("spec"):
        return [*found, *resource.validate_status(new, old)]
    part = resource.parts.get(write.subresource)
    validate_update = part.validate if part is not None else resource.validate_update
    return [*found, *resource.validate(new), *validate_update(new, old)]


def _is_new_generation(write: Write, new: Object, old: Object) -> bool:
    if not write.resource.has_generation:
        return False
    if write.resource.custom is None:
        return new.get("spec") != old.get("spec")
    if write.subresource == "status":
        return False
    return any(new.get(key) != old.get(key) for key in {**old, **new} if key != "metadata")


def _crowded(resource: Kind, name: str) -> errors.ApiError:
    return errors.conflict(resource.plural, name, errors.MODIFIED, resource.group)


async def delete_options(call: Call) -> deletion.Options:
    tree = await decoding.body(call) if call.request.body else None
    return deletion.read_options(tree, call.query)


def dry_entry(key: str, obj: Object) -> stores.Entry:
    """What would have been stored."""
    revision = meta.revision(obj)
    return stores.Entry(key, revision, revision, encoding.dumps(obj), obj)


def _unborn(write: Write, config: Object) -> Object:
    """What a configuration is applied to where there is nothing yet. Raises ApiError 400 or 409."""
    metadata = config["metadata"]
    name = metadata.get("name") or write.name
    if name != write.name:
        raise errors.bad_request(f"the name of the object ({name}) does not match the name on the URL ({write.name})")
    if metadata.get("resourceVersion") or metadata.get("uid"):
        why = "the configuration is for an object with this uid or resourceVersion, and there is none"
        raise errors.conflict(write.resource.plural, write.name, why, write.resource.group)
    return {"metadata": {"name": write.name}}


def _identified(resource: Kind, obj: Object, namespace: str) -> dict[str, Any]:
    """A new object with its name, namespace, uid and birth. Raises ApiError."""
    given = obj["metadata"]
    if given.get("namespace") and given["namespace"] != namespace:
        if resource.namespaced:
            raise errors.bad_request(
                f"the namespace of the provided object does not match the namespace sent on the request "
                f"({given['namespace']} and {namespace})"
            )
        raise errors.bad_request(f"cannot create a {resource.kind} in a namespace: it belongs to the whole cluster")
    name = given.get("name") or ""
    if not name and given.get("generateName"):
        name = tasks.generated_name(given["generateName"])
    if not name:
        raise errors.invalid(
            resource.kind,
            "",
            [FieldError.required("metadata.name", "name or generateName is required")],
            resource.group,
        )
    metadata: dict[str, Any] = {"name": name}
    if resource.namespaced:
        metadata["namespace"] = namespace
    metadata["uid"], metadata["creationTimestamp"] = tasks.new_uid(), tasks.rfc3339(tasks.now())
    if resource.has_generation:
        metadata["generation"] = 1
    for key, value in given.items():
        if key not in _NEW_ONES_OWN:
            metadata[key] = value
    return {**obj, "metadata": metadata}


def _check_same(resource: Kind, wanted: Object, old: Object, current: int) -> None:
    """That an update is about the object as it is. Raises ApiError 400, 409 or 422."""
    given, name = wanted["metadata"], meta.name(old)
    if given.get("name") != name:
        raise errors.bad_request(
            f"the name of the object ({given.get('name') or ''}) does not match the name on the URL ({name})"
        )
    if (given.get("namespace") or meta.namespace(old)) != meta.namespace(old):
        raise errors.bad_request("the namespace of the object does not match the namespace on the request")
    revision = given.get("resourceVersion")
    revision = "" if revision == "0" else revision  # As upstream: whichever it is at.
    if not revision and resource.custom is not None:  # Its own patches have the one of the object as it is.
        wrong = FieldError.invalid("metadata.resourceVersion", 0, "must be specified for an update")
        raise errors.invalid(resource.kind, name, [wrong], resource.group)
    if revision and not (revision.isascii() and revision.isdigit()):
        wrong = FieldError.invalid("metadata.resourceVersion", revision, "must be what the server gave")
        raise errors.invalid(resource.kind, name, [wrong], resource.group)
    if revision and int(revision[:30]) != current:
        raise errors.stale_write(resource.plural, name, revision[:30], current, resource.group)
    if given.get("uid") and given["uid"] != meta.uid(old):
        raise errors.conflict(
            resource.plural,
            name,
            f"Precondition failed: UID in precondition: {given['uid'][:100]}, UID in object meta: {meta.uid(old)}",
            resource.group,
        )


def carried(resource: Kind, subresource: str, wanted: Object, old: Object) -> dict[str, Any]:
    """The wanted object with what this way of writing may not touch taken from the old one."""
    if subresource in OF_STATUS:
        own = (*_SYSTEM_FIELDS, *resource.status_keeps)
        metadata = _metadata(wanted["metadata"], old["metadata"], own, *_NAMED_FIELDS)
        status = wanted.get("status")
        if subresource == APPROVAL:
            status = {**meta.part(old, "status"), "conditions": meta.parts(wanted, "status", "conditions")}
        new = {**old, "metadata": metadata, "status": status}
        return new if status is not None else meta.without(new, ("status",))
    if subresource in resource.parts:
        of_part = resource.parts[subresource]
        path, carry = of_part.path, of_part.carried
        part, kept = meta.get(wanted, *path), meta.get(old, *path)
        owned = {key: value for key, value in wanted["metadata"].items() if key == "managedFields"}
        new = {**(old if carry is None else carry(wanted, old)), "metadata": {**old["metadata"], **owned}}
        if carry is not None:
            return new
        return new if part == kept else meta.without(new, path) if part is None else meta.changed(new, path, part)
    new = {**wanted, "metadata": _metadata(wanted["metadata"], old["metadata"], _SYSTEM_FIELDS, *_NAMED_FIELDS)}
    if "status" in resource.subresources:
        new.pop("status", None)
        if "status" in old:
            new["status"] = old["status"]
    return new


def _creation(write: Write) -> rbac.Attributes:
    kind = write.resource
    return rbac.Attributes(writes.CREATE, kind.group, kind.plural, "", write.namespace, write.name)


def _keeper(write: Write, own: Object, old: Object | None) -> Callable[[Object], Object]:
    """Gives an object that somebody else has changed back what he may not change."""

    def keep(changed: Object) -> Object:
        new = {**changed, "metadata": _metadata(changed["metadata"], own["metadata"], _FIXED_FIELDS)}
        return new if old is None else carried(write.resource, write.subresource, new, old)

    return keep


def _metadata(given: Object, kept: Object, own: tuple[str, ...], *named: str) -> Object:
    """The metadata that was given, but for the server's `own` fields and where it was `named`; in its stored order."""
    if given == kept:
        return kept
    metadata: dict[str, Any] = {}
    for key, value in kept.items():
        if key in own or key in named:
            metadata[key] = value
        elif key in given and key not in _DROPPED_FIELDS:
            metadata[key] = given[key]
    for key, value in given.items():
        if key not in kept and key not in own and key not in _DROPPED_FIELDS:
            metadata[key] = value
    return metadata


async def patch_function(call: Call, resource: Kind) -> Callable[[Object], Object]:
    """What the request's patch makes of an object. Raises ApiError, also when it does not apply."""
    kind, taken = writes.media_type(call), writes.patch_types(resource)
    if kind not in taken or writes.is_apply(call):  # What is applied does not come here.
        raise errors.unsupported_media_type(kind[:100], taken)
    body: Json = await decoding.patch_body(call)
    if kind == writes.JSON_PATCH:
        return lambda old: patch.json_patch(old, body)
    if not isinstance(body, dict):
        raise errors.bad_request("cannot patch: the patch is not an object")
    if kind == writes.MERGE_PATCH:
        return lambda old: patch.merge_patch(old, body)
    return lambda old: patch.strategic_merge(old, body, resource)
