"""Gives the wheel the tag of the system that its program was built for: any Python 3, no ABI."""

import os

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class TagHook(BuildHookInterface):
    def initialize(self, version, build_data):
        build_data["tag"] = "py3-none-" + os.environ["ADAPTFLOW_WHEEL_PLATFORM"]
        build_data["pure_python"] = False
