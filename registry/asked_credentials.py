"""Which fields of a tool's input ask the model for a credential, and the input without them.

A password or key that the model has to give must first be in a chat or a prompt. A field counts as
one by its name, its title, its format, or what its description begins with.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from registry.errors import InvalidValue

_DATA = frozenset({"enum", "const", "default", "examples"})
_NAMED = frozenset({"dependentSchemas", "$defs", "definitions"})
_OPTIONAL = frozenset({"then", "else", "additionalProperties", "unevaluatedProperties"})
"""Keywords whose schema may become `false`: then a call leaves out what they are about."""
_AS_THEY_ARE = frozenset({"if", "not", "propertyNames", "required", *_DATA})
_ENTRIES = frozenset({"items", "contains", "unevaluatedItems", "prefixItems"})

_STRONG = (
    *("password", "passwords", "passwd", "passphrase", "passcode", "pwd", "passwort", "kennwort"),
    *("apikey", "apikeys", "apisecret", "privatekey", "secretkey", "accesskey", "accountkey"),
    *("secret", "credential", "credentials", "connectionstring", "authheader", "connstr"),
    *("authorizationheader", "sessioncookie", "otpcode", "mfacode", "githubpat", "gitlabpat"),
    *("sshkey", "authkey", "signingkey", "encryptionkey", "masterkey", "passkey", "apihash"),
    *("pincode", "verificationcode", "authorizationcode", "authcode", "securitycode", "smscode"),
    *("recoverycode", "recoverycodes", "backupcode", "backupcodes", "2facode", "twofactorcode"),
    *("seedphrase", "recoveryphrase", "mnemonic", "mnemonicphrase", "jwt", "creds", "kubeconfig"),
    *("serviceaccountjson", "serviceaccountkey", "sessionstring", "creditcard"),
    *("creditcardnumber", "debitcardnumber", "paymentcardnumber"),
    *("motdepasse", "contrasena", "contraseña", "contrasenya", "senha", "wachtwoord", "lösenord"),
    *("adgangskode", "salasana", "hasło", "haslo", "heslo", "пароль", "密码", "密碼", "パスワード"),
)
"""How names of credentials end, also with one of `_WRAPPERS` behind it."""
_WRAPPERS = frozenset(
    {
        *("json", "yaml", "pem", "text", "string", "str", "value"),
        *("raw", "plain", "base", "b", "data", "content", "contents"),
    }
)
"""Last words that say how a credential is written; numbers at the end of a word are not in it."""
_WHOLE = frozenset({"authorization", "proxyauthorization", "xauthorization", "dsn", "apitoken"})
_WHOLE |= {"pass", "pat", "cardnumber"}
_LOGINS = frozenset({"auth", "oauth", "basicauth", "httpauth", "proxyauth"})
"""Names of credentials where the value is a text, else of a group of fields."""
_PASS_OF = frozenset(
    {
        *("user", "db", "database", "admin", "root", "login", "smtp", "imap"),
        *("ftp", "ssh", "email", "mail", "mysql", "postgres", "redis"),
    }
)
_ADDRESSES = frozenset({"url", "uri"})
_STORES = frozenset(
    {
        *("database", "db", "postgres", "postgresql", "mysql", "mariadb"),
        *("mongo", "mongodb", "redis", "valkey", "amqp", "jdbc"),
    }
)
"""What has its password in its address."""
_LAST = frozenset({"pin", "otp", "totp", "cvv", "cvc", "cvv2", "cvc2", "cookie", "cookies"})
_LAST |= {"bearer", "sessionid"}
_DIGITS = frozenset({"otp", "totp", "cvv", "cvc", "cvv2", "cvc2"})
_NO_TOKEN = frozenset(
    {
        *("page", "next", "previous", "prev", "start", "sync", "cursor", "continuation", "resume"),
        *("continue", "pagination", "skip", "max", "min", "stop", "end", "eos", "bos", "pad"),
        *("delta", "change", "scroll", "position", "progress", "design", "idempotency"),
        *("confirm", "confirmation", "preview", "approval", "from", "to", "sell", "buy"),
        *("input", "output", "base", "quote"),
    }
)
"""Words before `token` that make it a place in a list, a coin or a piece of text."""
_JOINED_TOKEN = ("page", "next", "previous", "cursor", "continuation", "resume", "sync", "start")
_NO_CREDENTIAL = {
    "token": re.compile(
        r"(?i)\bpag(?:e|es|ing|ination)\b|cursor|continu|coin|crypto|contract|symbol|ticker"
    ),
    "pwd": re.compile(r"(?i)director|folder"),
    "pin": re.compile(r"(?i)\bgpio\b|\bboard\b|\bmap\b|hardware|digital|analog|microcontroller"),
    "pincode": re.compile(r"(?i)postal|\bzip\b|\barea\b|address|\bcity\b|deliver"),
    "key": re.compile(r"(?i)\bpublic\b|fingerprint"),
    "kubeconfig": re.compile(r"(?i)\bpath\b|\bfile ?name\b|\bcontext\b"),
    "sessionid": re.compile(r"(?i)browser|terminal|shell|conversation|chat|debug"),
    "mnemonic": re.compile(r"(?i)instruction|opcode|assembl|memory"),
    "number": re.compile(r"(?i)trello|\bboard\b|\bdeck\b|kanban|\btask\b"),
    "url": re.compile(r"(?i)notion|airtable|\bpage\b|\blink\b"),
    "auth": re.compile(r"(?i)method|\btype\b|\bmode\b|scheme|\bkind\b|whether"),
    "pass": re.compile(r"(?i)\bfail|ticket|boarding|filter|render|transit|\bthrough\b"),
}
"""Words of the name or the description that give such a name another meaning."""

_WHAT = (
    r"(?:password|passphrase|api[ -]?key|secret key|private key|client secret|connection string"
    r"|(?:access|bearer|auth|authentication|api) token|passwort|kennwort|api-schlüssel)"
)
_AFTER = (
    r"(?=\s*(?:$|[.,;:!()\n–—])"
    r"|\s+(?:for|of|to|used|with|from|that|which|in|on|as|is|if|and|or|here|below|für|von|des|der)\b)"
)
_MIDDLE = r"(?:(?!of\b|for\b|to\b|without\b|no\b|not\b|whether\b)\w[\w'’]*\s+){0,3}?"
_BEGINS = re.compile(rf"(?i)\W*{_MIDDLE}{_WHAT}{_AFTER}")
_DEMANDS = re.compile(
    r"(?i)(?<!not )(?<!never )(?<!n't )\b(?:enter|provide|supply|give|paste|insert)\s+"
    rf"(?:your|the|an?|my|user'?s)\s+(?:\w+\s+)?{_WHAT}{_AFTER}"
)
_DESCRIPTION_LIMIT = 500
_ROUNDS = 8
"""How many references in a row may lead to a field that they need."""
_NO_TEXT = frozenset({"boolean", "integer", "number", "null"})
_WORDS = re.compile(r"[A-Z]+(?![a-z])\d*|[A-Z]?[^\W\d_A-Z]+\d*|\d+")


def asks_for_credential(name: str, schema: Any = None) -> bool:
    """Whether a field with this name, and this schema if it is known, is for a credential."""
    field = schema if isinstance(schema, Mapping) else {}
    if schema is False or "enum" in field or "const" in field:
        return False
    types = field.get("type")
    kinds = {types} if isinstance(types, str) else set(filter(_is_text, types or ()))
    description = str(field.get("description") or "")[:_DESCRIPTION_LIMIT]
    words = _words(name)
    if kinds and kinds <= _NO_TEXT:
        is_number = not kinds <= {"boolean", "null"}
        is_card = "".join(words).endswith(("creditcardnumber", "debitcardnumber"))
        return is_number and (is_card or bool(_DIGITS.intersection(words[-1:])))
    if field.get("format") == "password" or _is_named_so(words, description):
        return True
    is_text = "string" in kinds or not (kinds or "properties" in field)
    if is_text and "".join(words) in _LOGINS:
        return not _NO_CREDENTIAL["auth"].search(description)
    title = _words(str(field.get("title") or "")[:200])
    if 1 <= len(title) <= 4 and title != words and "".join(title).endswith(_STRONG):
        return True
    if kinds and "string" not in kinds:
        return False
    return bool(_BEGINS.match(description) or _DEMANDS.search(description))


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _words(name: str) -> list[str]:
    """The words of a name in lower case, without numbers at the end: `Password2` is `password`."""
    words, last = [word.lower() for word in _WORDS.findall(name)], ""
    while words and not (last := words.pop().rstrip("0123456789")):
        continue
    return [*words, last] if words or last else []


def _is_named_so(words: list[str], description: str) -> bool:
    plain, last = "".join(words), words[-1] if words else ""
    usual = _NO_CREDENTIAL.get("pincode" if plain.endswith("pincode") else last)
    said = f"{' '.join(words)}: {description}"
    if usual and usual.search(said) and not re.search(_WHAT, description.lower()):
        return False
    if plain.endswith("token"):
        before = words[-2] if last == "token" and len(words) > 1 else ""
        return before not in _NO_TOKEN and not plain.removesuffix("token").endswith(_JOINED_TOKEN)
    if len(words) > 1 and last in _ADDRESSES | {"pass"}:
        return words[-2] in (_PASS_OF if last == "pass" else _STORES)
    bare = list(words)
    while len(bare) > 1 and bare[-1] in _WRAPPERS:
        bare.pop()
    is_strong = plain.endswith(_STRONG) or "".join(bare).endswith(_STRONG)
    return is_strong or plain in _WHOLE or last in _LAST


@dataclass(frozen=True, slots=True)
class WithoutCredentials:
    """The input of a tool without the fields that ask for a credential.

    `shown` has no such field, `enforced` is the same but refuses each of them; both are the schema
    itself where `fields`, their names, is empty. `needed` is one that a call requires, None if
    there is no such field.
    """

    shown: Mapping[str, Any]
    enforced: Mapping[str, Any]
    fields: tuple[str, ...] = ()
    needed: str | None = None


def without_credentials(schema: Mapping[str, Any]) -> WithoutCredentials:
    """A JSON Schema without the fields that ask for a credential.

    A part that demands one is removed too, if a call does not need it: an optional field, one of
    several alternatives. Raises InvalidValue for a schema that is nested or refers too deeply.
    """
    try:
        return _without_credentials(schema)
    except RecursionError:
        raise InvalidValue("is nested too deeply", "make it flatter") from None


def _without_credentials(schema: Mapping[str, Any]) -> WithoutCredentials:
    needing, known, fields, needed = set[str](), 0, dict[str, None](), ""
    for _ in range(_ROUNDS):
        removal = _Removal(needing, refuse=False)
        result = removal.without(schema)
        targets = {place: resolved(place, schema) for place in removal.places - needing}
        more = {p for p, one in targets.items() if one is not None and removal.without(one) is None}
        fields |= dict.fromkeys(removal.fields)
        needed = removal.needed or needed
        if not more and len(removal.places) == known:
            break
        needing |= more
        known = len(removal.places)
    else:
        raise InvalidValue("has parts that refer to each other too often", "make it flatter")
    if not fields:
        return WithoutCredentials(schema, schema)
    if not isinstance(result, Mapping) or any(
        one is not None and resolved(place, result) is None for place, one in targets.items()
    ):
        return WithoutCredentials(schema, schema, tuple(fields), needed or next(iter(fields)))
    enforced = _Removal(needing, refuse=True).without(schema)
    return WithoutCredentials(result, enforced, tuple(fields))


class _Removal:
    """Takes the fields out of a schema, or makes them `false`; None is a part that needs one.

    `needing` are the references whose targets need one.
    """

    def __init__(self, needing: Collection[str], *, refuse: bool) -> None:
        self._needing = needing
        self._refuse = refuse
        self._done: dict[int, Any] = {}
        self.places: set[str] = set()
        self.fields: list[str] = []
        self.needed = ""

    def without(self, node: Any) -> Any:
        """A schema without the fields."""
        if not isinstance(node, Mapping):
            return node
        if id(node) not in self._done:
            gone = set[str]()
            found = self._part(node, {}, gone)
            if self._refuse and gone and found is not None:
                named = found.get("properties")
                named = named if isinstance(named, Mapping) else {}
                found["properties"] = {**dict.fromkeys(sorted(gone), False), **named}
            self._done[id(node)] = found
        return self._done[id(node)]

    def _part(self, node: Any, known: Mapping[str, Any], gone: set[str]) -> Any:
        """The same; `known` and `gone` are fields of all parts that are about the same value."""
        if not isinstance(node, Mapping):
            return node
        own = node.get("properties")
        known = {**known, **(own if isinstance(own, Mapping) else {})}
        if isinstance(place := node.get("$ref"), str):
            self.places.add(place)
            if place in self._needing:
                return None
        # Fields first: the other keywords may name those that were removed.
        result: dict[str, Any] = {}
        for keyword in sorted(node, key=lambda word: word != "properties"):
            result[keyword] = self._keyword(keyword, node[keyword], known, gone)
            if result[keyword] is None and node[keyword] is not None:
                return None
        self._unlink(result, gone)
        required = node.get("required")
        for name in filter(_is_text, required if isinstance(required, list) else ()):
            if asks_for_credential(name, known.get(name)):
                self.fields.append(name)
                self.needed = name
                gone.add(name)
            if name in gone:
                return None
        return {keyword: result[keyword] for keyword in node} | result

    def _keyword(self, keyword: str, item: Any, known: Mapping[str, Any], gone: set[str]) -> Any:
        """What a keyword says without the fields; None where it demands one."""
        if keyword in _AS_THEY_ARE:
            return item
        if keyword in ("properties", "patternProperties") and isinstance(item, Mapping):
            return self._fields(item, gone)
        if keyword in _NAMED and isinstance(item, Mapping):
            is_same = keyword == "dependentSchemas"
            return {
                name: _or_false(self._part(one, known, gone) if is_same else self.without(one))
                for name, one in item.items()
            }
        if keyword in ("anyOf", "oneOf") and isinstance(item, list):
            parts = [self._part(one, known, gone) for one in item]
            return [one for one in parts if one is not None] or None
        if keyword == "allOf" and isinstance(item, list):
            parts = [self._part(one, known, gone) for one in item]
            return None if None in parts else parts
        if keyword in _OPTIONAL:
            is_same = keyword in ("then", "else")
            return _or_false(self._part(item, known, gone) if is_same else self.without(item))
        if keyword in _ENTRIES:
            parts = [self.without(one) for one in (item if isinstance(item, list) else [item])]
            if None in parts:
                return None
            return parts if isinstance(item, list) else parts[0]
        return item

    def _fields(self, item: Mapping[str, Any], gone: set[str]) -> dict[str, Any]:
        remaining: dict[str, Any] = {}
        for name, one in item.items():
            asks = asks_for_credential(name, one)
            found = None if asks else self.without(one)
            if found is not None or one is None:
                remaining[name] = found
                continue
            gone.add(name)
            if asks:
                self.fields.append(name)
            if self._refuse:
                remaining[name] = False
        return remaining

    def _unlink(self, result: dict[str, Any], gone: set[str]) -> None:
        """Take the fields out of what depends on others; what depends on them cannot be set."""
        for keyword in ("dependentRequired", "dependencies", "dependentSchemas"):
            if not isinstance(by_name := result.get(keyword), Mapping):
                continue
            remaining = {name: one for name, one in by_name.items() if name not in gone}
            bound = [n for n, one in remaining.items() if isinstance(one, list) and gone & set(one)]
            result[keyword] = {name: one for name, one in remaining.items() if name not in bound}
            if bound:
                others = result.get("dependentSchemas")
                others = others if isinstance(others, Mapping) else {}
                result["dependentSchemas"] = {**others, **dict.fromkeys(bound, False)}


def _or_false(schema: Any) -> Any:
    return False if schema is None else schema


def resolved(place: str, root: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """What is at a place such as `#/$defs/Args`; None where there is no object."""
    found: Any = root if place.startswith("#/") else None
    for step in place.split("/")[1:]:
        name = step.replace("~1", "/").replace("~0", "~")
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else None
