"""What processes use and proxies have served, between two readings."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from holdfast.local.usage import CpuMeter, RequestMeter, Served, memory_mb, tree_cpu_s

BURN_IN_A_CHILD = """
import subprocess, sys
burn = "import time\\nwhile time.process_time() < 0.3: pass"
subprocess.run([sys.executable, "-c", burn], check=True)
print("done", flush=True)
sys.stdin.read()
"""


def test_a_busy_half_second_of_a_second_is_half_a_vcpu() -> None:
    used = {1: 10.0, 2: 0.0}
    meter = CpuMeter(used.__getitem__)
    assert meter.vcpus([1, 2], 100.0) == [], "nothing is known of a process before its second reading"
    used.update({1: 10.5, 2: 2.0})
    assert meter.vcpus([1, 2], 101.0) == [0.5, 2.0]


def test_a_late_reading_does_not_make_a_process_look_busier() -> None:
    used = {1: 0.0}
    meter = CpuMeter(used.__getitem__)
    meter.vcpus([1], 0.0)
    used[1] = 2.0
    assert meter.vcpus([1], 4.0) == [0.5]


def test_a_process_that_came_since_has_no_value_and_one_that_went_is_forgotten() -> None:
    used = {1: 0.0, 2: 7.0}
    meter = CpuMeter(used.__getitem__)
    meter.vcpus([1], 0.0)
    assert meter.vcpus([2], 1.0) == []
    assert meter.vcpus([1], 2.0) == [], "a pid that is used again is another process"


def test_children_that_have_ended_count() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", BURN_IN_A_CHILD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "done\n"
    assert tree_cpu_s(child.pid) >= 0.3
    child.communicate()


def test_a_process_that_is_gone_uses_nothing() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert tree_cpu_s(child.pid) == 0.0
    assert memory_mb([child.pid]) == 0.0
    assert memory_mb([os.getpid()]) > 1


def test_rates_are_over_the_time_between_the_readings_not_between_the_questions() -> None:
    meter = RequestMeter()
    assert meter.rate({"a": Served(10.0, 100), "b": Served(10.2, 50)}) == 0.0
    assert meter.rate({"a": Served(12.0, 120), "b": Served(10.7, 60)}) == pytest.approx(10.0 + 20.0)


def test_a_proxy_that_was_not_read_again_keeps_its_rate() -> None:
    meter = RequestMeter()
    meter.rate({"a": Served(0.0, 0)})
    assert meter.rate({"a": Served(1.0, 30)}) == 30.0
    assert meter.rate({"a": Served(1.0, 30)}) == 30.0
    assert meter.rate({"a": Served(2.0, 30)}) == 0.0


def test_a_proxy_that_is_gone_serves_nothing_and_one_that_started_again_counts_from_zero() -> None:
    meter = RequestMeter()
    meter.rate({"a": Served(0.0, 0), "b": Served(0.0, 1000)})
    meter.rate({"a": Served(1.0, 10), "b": Served(1.0, 1010)})
    assert meter.rate({"a": Served(2.0, 20)}) == 10.0
    assert meter.rate({"a": Served(3.0, 30), "b": Served(3.0, 5)}) == 10.0
    assert meter.rate({"a": Served(4.0, 40), "b": Served(4.0, 2)}) == 10.0, "never below nothing"
