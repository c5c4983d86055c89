"""Keys and certificates: the device's own, people's and programs', and the authority that signs them."""
