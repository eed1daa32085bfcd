"""``python -m genhmr.world.motion_builder``: rebuild the shipped motion clips."""

from genhmr.world.motion_builder.build import main

main()
