"""What can be wrong with a geofence that came from outside."""

from __future__ import annotations


class FenceError(ValueError):
    """A shape that cannot be used. The message names the feature and the vertex, what is wrong, and the cure."""

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}" if where else problem)
        self.where = where
        self.problem = problem

    def within(self, feature: str) -> FenceError:
        """The same error, told from further outside."""
        return type(self)(f"{feature}, {self.where}" if self.where else feature, self.problem)


class NoMetresError(FenceError):
    """A line without a width, or a point without a radius: whoever brings the file may say it for all."""
