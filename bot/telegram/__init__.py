"""The Bot API: intake, decoding, markup and sending."""
