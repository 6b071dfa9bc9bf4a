"""The HTTP host of the registry: bytes in, a `Call`, a `Reply`, bytes out. No rule of the business."""
