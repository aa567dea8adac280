"""Who asks, and may they: the front proxy's word for the user, the API server's for the permission.

Everything comes through the API server's aggregator, which names the user in headers and proves itself by a client
certificate; there is no other way in, no bearer tokens. Sources: k8s.io/apiserver pkg/authentication/request/
headerrequest and plugin/pkg/authorizer/webhook, and what they are configured by, the ConfigMap below.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

import msgspec

from service.adapter.answers import GROUP, Refusal
from service.adapter.kube import Kube
from service.adapter.once import Once

CONFIG_MAP: Final = ("kube-system", "extension-apiserver-authentication")
ALLOWED_KEPT: Final = 10.0

Headers: TypeAlias = Iterable[tuple[bytes, bytes]]
#: As ssl.SSLSocket.getpeercert gives it: a verified certificate, or nothing.
Certificate: TypeAlias = Mapping[str, Any] | None

logger = logging.getLogger("tfpod.adapter")


class FrontProxy(msgspec.Struct, frozen=True):
    """How to know the front proxy, and the headers in which it names the user (in small letters)."""

    ca: str
    #: The common names it may have; none: any that the CA signed.
    names: frozenset[str]
    user: tuple[str, ...]
    uid: tuple[str, ...]
    group: tuple[str, ...]
    extra: tuple[str, ...]


class User(msgspec.Struct, frozen=True):
    """Whom the front proxy speaks for."""

    name: str
    uid: str
    groups: tuple[str, ...]
    extra: tuple[tuple[str, tuple[str, ...]], ...]


class Auth:
    """Knows the front proxy, as far as `refresh` has found it described, and asks for permissions."""

    def __init__(self, kube: Kube) -> None:
        self.front: FrontProxy | None = None
        self._kube = kube
        self._allowed = Once[tuple[User, str, str, str, str], None](ALLOWED_KEPT, limit=1024)

    async def refresh(self) -> None:
        """Read the front proxy's description anew; where that fails the one before stays."""
        try:
            front = front_proxy(await self._kube.config_map(*CONFIG_MAP))
        except (Refusal, ValueError) as error:
            logger.warning("request-header configuration not read", extra={"reason": str(error)})
            return
        if front != self.front:
            logger.info("request-header configuration read", extra={"allowed_names": sorted(front.names)})
            self.front = front

    def trusts(self, certificate: Certificate) -> bool:
        """Tell whether a certificate, already verified against the front proxy's CA, is the front proxy's."""
        if not self.front or not certificate:
            return False
        names = [value for part in certificate["subject"] for key, value in part if key == "commonName"]
        return not self.front.names or (len(names) == 1 and names[0] in self.front.names)

    def user(self, certificate: Certificate, headers: Headers) -> User | None:
        """Return the user that the front proxy names; None where it isn't the front proxy, or names nobody."""
        if not self.front or not self.trusts(certificate):
            return None
        given = [(key.decode("latin-1"), value.decode(errors="replace")) for key, value in headers if value]
        names = _values(given, self.front.user)
        if not names:
            return None
        uids = _values(given, self.front.uid)
        groups = _values(given, self.front.group)
        return User(names[0], uids[0] if uids else "", tuple(groups), _extra(given, self.front.extra))

    async def permit(self, user: User, version: str, namespace: str, name: str, metric: str) -> None:
        """Raise Refusal 403 unless the API server lets `user` get the metric; its yes holds for ten seconds."""
        key = (user, version, namespace, name, metric)
        await self._allowed.get(key, lambda: self._review(*key))

    async def _review(self, user: User, version: str, namespace: str, name: str, metric: str) -> None:
        attributes = {
            "verb": "get",
            "group": GROUP,
            "version": version,
            "namespace": namespace,
            "resource": "pods",
            "subresource": metric,
            "name": name,
        }
        spec = {
            "user": user.name,
            "uid": user.uid,
            "groups": user.groups,
            "extra": dict(user.extra),
            "resourceAttributes": attributes,
        }
        if not await self._kube.allowed(spec):
            what = f'pods/{metric}.{GROUP} "{name}" is forbidden: User "{user.name}"'
            where = f'cannot get resource "pods/{metric}" in API group "{GROUP}" in the namespace "{namespace}"'
            raise Refusal(403, "Forbidden", f"{what} {where}")


def front_proxy(data: Mapping[str, str]) -> FrontProxy:
    """Return what the data of the ConfigMap says; raises ValueError where it describes no front proxy."""
    ca = data.get("requestheader-client-ca-file", "")
    if not ca:
        raise ValueError("the API server has no front proxy: requestheader-client-ca-file is not set")

    def names(key: str) -> list[str]:
        return msgspec.json.decode(data.get(key) or "[]", type=list[str])

    def headers(key: str) -> tuple[str, ...]:
        return tuple(name.strip().lower() for name in names(key))

    return FrontProxy(
        ca=ca,
        names=frozenset(names("requestheader-allowed-names")),
        user=headers("requestheader-username-headers"),
        uid=headers("requestheader-uid-headers"),
        group=headers("requestheader-group-headers"),
        extra=headers("requestheader-extra-headers-prefix"),
    )


def _values(given: list[tuple[str, str]], names: tuple[str, ...]) -> list[str]:
    """Return the values of the headers `names`, in the order of `names`."""
    return [value for name in names for key, value in given if key == name]


def _extra(given: list[tuple[str, str]], prefixes: tuple[str, ...]) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Return what was given under one of the prefixes, by the rest of the header's name, percent-decoded."""
    extra: dict[str, list[str]] = {}
    for key, value in given:
        for prefix in prefixes:
            if key.startswith(prefix):
                extra.setdefault(unquote(key.removeprefix(prefix)), []).append(value)
    return tuple((key, tuple(values)) for key, values in sorted(extra.items()))
