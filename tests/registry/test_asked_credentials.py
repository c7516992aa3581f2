"""Fields of a tool's input that ask the model for a credential, and those that only seem to."""

from __future__ import annotations

from typing import Any

import pytest

from registry.asked_credentials import asks_for_credential, without_credentials
from registry.errors import InvalidValue
from registry.tool_schema import checked

TEXT = {"type": "string"}
NAMES = (
    *("password", "passwd", "user_password", "userPassword", "Password2", "passphrase", "passwort"),
    *("api_key", "apiKey", "APIKey", "x-api-key", "apikey", "OPENAI_API_KEY", "client_secret"),
    *("private_key", "access_key", "secretKey", "secret", "credentials", "token", "github-token"),
    *("access_token", "refreshToken", "bearer", "bearer_token", "personal_access_token"),
    *("connection_string", "connectionString", "session_cookie", "cookie", "authorization"),
    *("auth_header", "Authorization", "pin", "card_pin", "otp", "otp_code", "cvv", "cvc", "cvv2"),
    *("database_token", "loginToken", "one_time_password", "kennwort", "smtp_pwd"),
    *("jwt", "sessionid", "kubeconfig", "ssh_key", "pin_code", "verification_code", "creds"),
    *("pass", "db_pass", "seed_phrase", "service_account_json", "database_url", "mongodb_uri"),
    *("auth", "basicAuth", "credit_card_number", "mot_de_passe", "contrasena", "contraseña"),
    *("private_key_pem", "kubeconfig_base64", "apiKeyValue", "credentials_json", "パスワード"),
)
OTHER_NAMES = (
    *("max_tokens", "tokens", "page_token", "pageToken", "nextpagetoken", "next_token", "token_id"),
    *("cursor_token", "sync_token", "continuation_token", "stop_token", "key", "sort_key"),
    *("issue_key", "public_key", "access_key_id", "secret_name", "password_length", "pinned"),
    *("pin_message", "pinned_only", "spin", "opinion", "author", "passport_country", "keyword"),
    *(
        "cookie_policy",
        "monkey",
        "auth_type",
        "has_password_reset",
        "tokenizer",
        "pattern",
        "",
        "7",
    ),
    *("session_id", "sessionId", "pass_mark", "bypass", "boarding_pass", "database_name", "url"),
    *("public_ssh_key", "ssh_key_id", "code", "card", "order_number", "notion_database_url"),
    *("delivery_area_pin_code", "authority", "auth_method", "text_value", "data"),
)
SIGNS: tuple[dict[str, Any], ...] = (
    {"format": "password"},
    {"title": "Password"},
    {"title": "Your API key"},
    {"description": "Your API key for the service"},
    {"description": "The password of the account."},
    {"description": "GitHub personal access token"},
    {"description": "Value to log in with. Enter your password here."},
    {"type": ["string", "null"], "description": "API key (optional)"},
)
OTHER_SIGNS: tuple[dict[str, Any], ...] = (
    {"title": "Password length"},
    {"description": "The password policy to apply"},
    {"description": "The path of the password file"},
    {"description": "API key ID"},
    {"description": "Password-protected documents to skip"},
    {"description": "What to say. Do not enter your password here."},
    {"description": "Text in which each token is counted"},
    {"type": "integer", "description": "Password strength"},
    {"type": "object", "description": "API key for the service, and more"},
    {"enum": ["password", "key"], "description": "Password or key"},
    {"format": "uri"},
)


@pytest.mark.parametrize("name", NAMES)
def test_a_field_asks_for_a_credential_by_its_name(name: str) -> None:
    assert asks_for_credential(name, TEXT)
    assert asks_for_credential(name)


@pytest.mark.parametrize("name", OTHER_NAMES)
def test_a_name_that_only_looks_like_one_asks_for_nothing(name: str) -> None:
    assert not asks_for_credential(name, TEXT)


@pytest.mark.parametrize("schema", SIGNS, ids=str)
def test_a_field_asks_for_a_credential_by_what_is_said_of_it(schema: dict[str, Any]) -> None:
    assert asks_for_credential("value", TEXT | schema)


@pytest.mark.parametrize("schema", OTHER_SIGNS, ids=str)
def test_a_field_that_is_about_credentials_asks_for_none(schema: dict[str, Any]) -> None:
    assert not asks_for_credential("value", TEXT | schema)


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("secret", {"type": "boolean"}),
        ("pin", {"type": "boolean"}),
        ("pin", {"type": "string", "description": "GPIO pin, for example A0"}),
        ("token", {"type": "string", "description": "Cursor of the next page"}),
        ("token", {"type": "string", "description": "Symbol of the coin"}),
        ("pwd", {"type": "string", "description": "Working directory"}),
        ("authorization", {"enum": ["none", "basic"]}),
        ("password", False),
        ("pin_code", {"type": "string", "title": "Pin Code", "description": "Postal code"}),
        ("ssh_key", {"type": "string", "description": "The public key to add"}),
        ("kubeconfig", {"type": "string", "description": "Path of the kubeconfig file"}),
        ("auth", {"type": "string", "description": "Method of authentication"}),
        ("auth", {"type": "object", "properties": {}}),
        ("number", {"type": "integer"}),
        ("order_number", {"type": "integer"}),
    ],
)
def test_a_fields_schema_may_give_its_name_another_meaning(name: str, schema: Any) -> None:
    assert not asks_for_credential(name, schema)


def test_a_number_of_a_card_asks_for_a_credential() -> None:
    assert asks_for_credential("credit_card_number", {"type": "integer"})


def fields(**named: Any) -> dict[str, Any]:
    return {"type": "object", "properties": named}


def needs(name: str, **named: Any) -> dict[str, Any]:
    return fields(**{name: TEXT, **named}) | {"required": [name]}


KEY = {"properties": {"api_key": TEXT}}


@pytest.mark.parametrize(
    ("schema", "shown"),
    [
        (fields(a=TEXT, api_key=TEXT), fields(a=TEXT)),
        (fields(auth=fields(user=TEXT, passwd=TEXT)), fields(auth=fields(user=TEXT))),
        (fields(a=TEXT, auth=needs("password")), fields(a=TEXT)),
        (fields(a={"type": "array", "items": needs("pin")}, b=TEXT), fields(b=TEXT)),
        (fields(a=TEXT) | {"allOf": [KEY]}, fields(a=TEXT) | {"allOf": [{"properties": {}}]}),
        (
            {"type": "object", "anyOf": [needs("url"), needs("cookie")]},
            {"type": "object", "anyOf": [needs("url")]},
        ),
        (
            fields(a=TEXT, c={"$ref": "#/$defs/c"}) | {"$defs": {"c": needs("otp")}},
            fields(a=TEXT) | {"$defs": {"c": False}},
        ),
        (
            {"type": "object", "patternProperties": {"^password$": TEXT, "^x": TEXT}},
            {"type": "object", "patternProperties": {"^x": TEXT}},
        ),
        (
            fields(user=TEXT, password=TEXT) | {"dependentRequired": {"user": ["password"]}},
            fields(user=TEXT) | {"dependentRequired": {}, "dependentSchemas": {"user": False}},
        ),
        (
            fields(a=TEXT) | {"if": {"required": ["a"]}, "then": {"required": ["password"]}},
            fields(a=TEXT) | {"if": {"required": ["a"]}, "then": False},
        ),
    ],
    ids=str,
)
def test_what_a_call_can_do_without_is_taken_out(
    schema: dict[str, Any], shown: dict[str, Any]
) -> None:
    found = without_credentials(schema)
    assert found.shown == shown
    assert found.needed is None
    assert len(found.fields) == 1
    with pytest.raises(InvalidValue, match="for a credential"):
        checked(schema)


@pytest.mark.parametrize(
    ("schema", "needed"),
    [
        ({"required": ["password"]}, "password"),
        (needs("x") | {"required": ["x", "connection_string"]}, "connection_string"),
        (fields(auth=needs("userPassword")) | {"required": ["auth"]}, "userPassword"),
        ({"allOf": [needs("url"), needs("cvv")]}, "cvv"),
        ({"oneOf": [needs("pin"), needs("pin", otp=TEXT)]}, "pin"),
        (fields(a=TEXT | {"format": "password"}) | {"anyOf": [{"required": ["a"]}]}, "a"),
        ({"$ref": "#/$defs/a", "$defs": {"a": needs("bearer")}}, "bearer"),
        (fields(password=TEXT, more={"$ref": "#/properties/password"}), "password"),
    ],
    ids=str,
)
def test_what_a_call_cannot_do_without_is_named(schema: dict[str, Any], needed: str) -> None:
    assert without_credentials(schema).needed == needed


@pytest.mark.parametrize(
    "schema",
    [
        fields(secret={"type": "boolean"}) | {"anyOf": [{"required": ["secret"]}]},
        fields(a={"$ref": "#"}, enum=TEXT, default=TEXT, properties=fields(a=TEXT)),
        fields(a={"default": {"password": "x"}, "enum": ["password"]}, required=TEXT),
        fields(a=TEXT) | {"not": {"required": ["password"]}},
    ],
    ids=str,
)
def test_a_schema_that_asks_for_nothing_stays_itself(schema: dict[str, Any]) -> None:
    found = without_credentials(schema)
    assert found.shown is schema
    assert not found.fields


def test_references_without_an_end_take_no_time() -> None:
    below = {f"a{n}": {"allOf": [{"$ref": f"#/$defs/a{n + 1}"}] * 2} for n in range(900)}
    schema = fields(a={"$ref": "#/$defs/a0"}) | {"$defs": below | {"a900": {"$ref": "#/$defs/a0"}}}
    assert without_credentials(schema).shown is schema
    below["a900"] = needs("password")
    with pytest.raises(InvalidValue, match="refer to each other"):
        without_credentials(schema | {"$defs": below})
