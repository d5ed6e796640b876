"""Reading figures off measured points."""

import math

TARGETS = (0.90, 0.95, 0.99)


def front(points):
    """The points (recall, rate, anything) that no other beats in both, by rising recall."""
    best = []
    for point in sorted(points, key=lambda point: (point[0], point[1])):
        while best and best[-1][1] <= point[1]:
            best.pop()
        best.append(point)
    return best


def at_recall(best, recall):
    """The rate at a recall, log-linear between the points of a front on either side; None if it is never reached.

    Where even the fastest point is above the recall, its rate counts: nothing faster was measured.
    """
    if not best or best[-1][0] < recall:
        return None
    if best[0][0] >= recall:
        return best[0][1]
    for (r0, q0, *_), (r1, q1, *_) in zip(best, best[1:]):
        if r0 < recall <= r1:
            share = (recall - r0) / (r1 - r0)
            return math.exp(math.log(q0) * (1 - share) + math.log(q1) * share)
    return None


def reaching(best, recall):
    """The fastest point that has at least a recall."""
    return next((point for point in best if point[0] >= recall), None)
