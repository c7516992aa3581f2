"""Well-known places and their time zones."""

from __future__ import annotations

import re
from collections.abc import Mapping
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

ZONES: Mapping[str, str] = {
    "amsterdam": "Europe/Amsterdam",
    "anchorage": "America/Anchorage",
    "athens": "Europe/Athens",
    "auckland": "Pacific/Auckland",
    "baghdad": "Asia/Baghdad",
    "bangkok": "Asia/Bangkok",
    "barcelona": "Europe/Madrid",
    "beijing": "Asia/Shanghai",
    "berlin": "Europe/Berlin",
    "bogota": "America/Bogota",
    "boston": "America/New_York",
    "brussels": "Europe/Brussels",
    "bucharest": "Europe/Bucharest",
    "budapest": "Europe/Budapest",
    "buenos aires": "America/Argentina/Buenos_Aires",
    "cairo": "Africa/Cairo",
    "cape town": "Africa/Johannesburg",
    "chicago": "America/Chicago",
    "copenhagen": "Europe/Copenhagen",
    "delhi": "Asia/Kolkata",
    "denver": "America/Denver",
    "dhaka": "Asia/Dhaka",
    "dubai": "Asia/Dubai",
    "dublin": "Europe/Dublin",
    "hanoi": "Asia/Ho_Chi_Minh",
    "helsinki": "Europe/Helsinki",
    "hong kong": "Asia/Hong_Kong",
    "honolulu": "Pacific/Honolulu",
    "istanbul": "Europe/Istanbul",
    "jakarta": "Asia/Jakarta",
    "jerusalem": "Asia/Jerusalem",
    "johannesburg": "Africa/Johannesburg",
    "karachi": "Asia/Karachi",
    "kathmandu": "Asia/Kathmandu",
    "kyiv": "Europe/Kyiv",
    "lagos": "Africa/Lagos",
    "lima": "America/Lima",
    "lisbon": "Europe/Lisbon",
    "london": "Europe/London",
    "los angeles": "America/Los_Angeles",
    "madrid": "Europe/Madrid",
    "manila": "Asia/Manila",
    "melbourne": "Australia/Melbourne",
    "mexico city": "America/Mexico_City",
    "milan": "Europe/Rome",
    "montreal": "America/Toronto",
    "moscow": "Europe/Moscow",
    "mumbai": "Asia/Kolkata",
    "munich": "Europe/Berlin",
    "nairobi": "Africa/Nairobi",
    "new york": "America/New_York",
    "oslo": "Europe/Oslo",
    "paris": "Europe/Paris",
    "prague": "Europe/Prague",
    "reykjavik": "Atlantic/Reykjavik",
    "riga": "Europe/Riga",
    "rio de janeiro": "America/Sao_Paulo",
    "rome": "Europe/Rome",
    "san francisco": "America/Los_Angeles",
    "santiago": "America/Santiago",
    "sao paulo": "America/Sao_Paulo",
    "seattle": "America/Los_Angeles",
    "seoul": "Asia/Seoul",
    "shanghai": "Asia/Shanghai",
    "singapore": "Asia/Singapore",
    "stockholm": "Europe/Stockholm",
    "sydney": "Australia/Sydney",
    "taipei": "Asia/Taipei",
    "tallinn": "Europe/Tallinn",
    "tehran": "Asia/Tehran",
    "tokyo": "Asia/Tokyo",
    "toronto": "America/Toronto",
    "utc": "Etc/UTC",
    "vancouver": "America/Vancouver",
    "vienna": "Europe/Vienna",
    "vilnius": "Europe/Vilnius",
    "warsaw": "Europe/Warsaw",
    "washington": "America/New_York",
    "zurich": "Europe/Zurich",
}
_PLACE = re.compile(
    r"\b([A-Z][A-Za-z]+(?:/[A-Z][A-Za-z_]+){1,2})\b|\b(?i:(" + "|".join(ZONES) + r"))\b"
)


def places(text: str) -> list[tuple[str, str]]:
    """The places in a text, in order: what it is called there, and its IANA zone."""
    found: dict[str, str] = {}
    for match in _PLACE.finditer(text):
        name = match.group()
        zone = name if match.group(1) else ZONES[name.lower()]
        if _known(zone):
            found.setdefault(name, zone)
    return list(found.items())


def _known(zone: str) -> bool:
    try:
        ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False
    return True
