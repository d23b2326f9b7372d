"""Which transfer syntaxes are decoded, each by one decoder, and what to install where it is missing."""

from __future__ import annotations

from pydicom.pixels.decoders.base import Decoder, get_decoder
from pydicom.uid import (
    UID,
    JPEG2000TransferSyntaxes,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSTransferSyntaxes,
    RLELossless,
)

from ra_core.data.readers.refusal import Reason, Refusal

__all__ = ["decoder_for", "plugin_for"]

# One of pydicom's plugins for each, so that pixels don't depend on what else is installed (why: docs/decoders.md).
_PLUGINS: dict[UID, tuple[str, str]] = {
    **dict.fromkeys((JPEGBaseline8Bit, JPEGExtended12Bit), ("pillow", "pillow")),
    **dict.fromkeys((JPEGLossless, JPEGLosslessSV1), ("gdcm", "python-gdcm")),
    **dict.fromkeys(JPEGLSTransferSyntaxes, ("pyjpegls", "pyjpegls")),
    RLELossless: ("pydicom", "pydicom"),
    **dict.fromkeys(JPEG2000TransferSyntaxes, ("pylibjpeg", "pylibjpeg and pylibjpeg-openjpeg")),
}


def decoder_for(syntax: UID) -> Decoder:
    """The decoder that pydicom has for a transfer syntax.

    Raises:
        Refusal: nothing decodes it (video and other rare ones), or the package that does is not installed; names the
            syntax and the package.
    """
    name = syntax.name if syntax.keyword else "of a private kind"
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError:
        raise Refusal(
            Reason.UNSUPPORTED_TRANSFER_SYNTAX, f"transfer syntax {name} is not read", "export it uncompressed"
        ) from None
    if syntax in _PLUGINS and _PLUGINS[syntax][0] not in decoder.available_plugins:
        raise Refusal(
            Reason.NO_DECODER,
            f"no decoder for transfer syntax {name}",
            f"install {_PLUGINS[syntax][1]} (federated-ra depends on it), or export it uncompressed",
        )
    return decoder


def plugin_for(decoder: Decoder, precision: int) -> str:
    """Which of a decoder's plugins reads a compressed frame of this many bits.

    Raises:
        Refusal: JPEG Extended with more than 8 bits, and pylibjpeg-libjpeg is not installed.
    """
    syntax = decoder.UID
    if syntax != JPEGExtended12Bit or precision <= 8:
        return _PLUGINS[syntax][0]
    if "pylibjpeg" in decoder.available_plugins:
        return "pylibjpeg"
    raise Refusal(
        Reason.NO_DECODER,
        f"no permissively licensed decoder reads transfer syntax {syntax.name} with {precision} bits",
        "export it uncompressed, or install pylibjpeg-libjpeg (GPL-3.0) yourself: pip install pylibjpeg-libjpeg",
    )
