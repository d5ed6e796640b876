"""What the figures rest on. Needs NumPy: python -m unittest discover bench/compare"""

import math
import os
import sys
import unittest

import numpy as np

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import exact
import front
import plot


class Recall(unittest.TestCase):
    def setUp(self):
        self.base = np.array([[1.0], [-1.0], [2.0], [3.0]], dtype=np.float32)
        self.truth = exact.Truth("l2", self.base, np.array([[0.0]], dtype=np.float32), np.array([[0, 1, 2]]))

    def test_ties_at_the_kth_are_right(self):
        for found, recall in (([0], 1.0), ([1], 1.0), ([2], 0.0), ([], 0.0), ([-1], 0.0), ([99], 0.0)):
            self.assertEqual(self.truth.recalls([found], 1), [recall], found)

    def test_a_row_twice_counts_once(self):
        self.assertEqual(self.truth.recalls([[0, 0]], 2), [0.5])

    def test_more_than_k_gain_nothing(self):
        self.assertEqual(self.truth.recalls([[3, 0, 1]], 1), [0.0])


class Search(unittest.TestCase):
    def test_blocks_give_what_comparing_everything_gives(self):
        random = np.random.default_rng(5)
        base = random.integers(0, 5, (300, 6)).astype(np.float16) + np.float16(1)
        queries = random.integers(0, 5, (17, 6)).astype(np.float16) + np.float16(1)
        for metric in ("l2", "ip", "cosine"):
            found = exact.search(metric, base, queries, 20, block=5, rows=64)
            for query, ids in zip(queries, found):
                far = exact.distances(metric, query, base)
                # Ties are many here: the set of distances is what is determined.
                np.testing.assert_allclose(far[ids], np.sort(far)[:20], err_msg=metric)
                self.assertEqual(len(set(ids.tolist())), 20)


class Halves(unittest.TestCase):
    def test_they_share_nothing_and_leave_nothing_out(self):
        tune, report = exact.half(7, "tune").tolist(), exact.half(7, "report").tolist()
        self.assertEqual((tune, report), ([0, 2, 4, 6], [1, 3, 5]))


class Front(unittest.TestCase):
    points = [(0.80, 1000.0), (0.90, 400.0), (0.85, 300.0), (0.99, 100.0), (0.99, 90.0)]

    def test_only_what_nothing_beats_is_kept(self):
        self.assertEqual(front.front(self.points), [(0.80, 1000.0), (0.90, 400.0), (0.99, 100.0)])

    def test_rates_between_points_are_log_linear(self):
        best = front.front(self.points)
        self.assertAlmostEqual(front.at_recall(best, 0.945), math.sqrt(400.0 * 100.0))
        self.assertAlmostEqual(front.at_recall(best, 0.90), 400.0)
        self.assertEqual(front.at_recall(best, 0.5), 1000.0)
        self.assertIsNone(front.at_recall(best, 0.995))
        self.assertIsNone(front.at_recall([], 0.9))
        self.assertEqual(front.reaching(best, 0.95), (0.99, 100.0))

    def test_a_plot_holds_every_engine(self):
        drawn = plot.svg("a & b", "machine", {"dvse": front.front(self.points), "none": []})
        for text in ("a &amp; b", ">dvse<", ">none<", "</svg>"):
            self.assertIn(text, drawn)


if __name__ == "__main__":
    unittest.main()
