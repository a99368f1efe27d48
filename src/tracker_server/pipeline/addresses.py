"""What is asked of whoever remembers addresses."""

from __future__ import annotations

from typing import Final, Protocol

E4: Final = 10_000  # of a degree: an address is that of a square of some ten metres


class AddressCache(Protocol):
    """Addresses by place (degrees times 10,000: 11 m) and language."""

    async def find(self, latitude_e4: int, longitude_e4: int, language: str) -> str | None:
        """One that was asked for before; "": nobody knows any there; None: not asked yet."""
        ...

    async def keep(self, latitude_e4: int, longitude_e4: int, language: str, address: str) -> None:
        """Remember one."""
        ...
