"""Profiles: what a program does and how long that takes, and what holds memory when."""

from clgrad.profiler.averages import EventList, KeyAverage
from clgrad.profiler.memory import memory_timeline
from clgrad.profiler.profile import profile, supported_activities, tensorboard_trace_handler
from clgrad.profiler.ranges import record_function
from clgrad.profiler.schedule import ProfilerAction, ProfilerActivity, schedule

__all__ = [
    "EventList",
    "KeyAverage",
    "ProfilerAction",
    "ProfilerActivity",
    "memory_timeline",
    "profile",
    "record_function",
    "schedule",
    "supported_activities",
    "tensorboard_trace_handler",
]
