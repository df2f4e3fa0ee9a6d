"""Audits of classifiers that answer with scores: what strangers could make of them, for owners."""

from keras_reprogram.audit.attack import exact_map_accuracy
from keras_reprogram.audit.auditing import audit_source
from keras_reprogram.audit.honest_use import HonestUse, expected_calibration_error, honest_use
from keras_reprogram.audit.measures import (
    AS_IT_IS,
    Answers,
    Measure,
    measures_for,
    noisy,
    read_measure,
    rounded,
    tempered,
    top_label,
    top_scores,
)
from keras_reprogram.audit.page import write_audit_page
from keras_reprogram.audit.plan import AuditPlan, PlannedRun, plan_audit
from keras_reprogram.audit.result import Audit, TaskAudit

__all__ = [
    "AS_IT_IS",
    "Answers",
    "Audit",
    "AuditPlan",
    "HonestUse",
    "Measure",
    "PlannedRun",
    "TaskAudit",
    "audit_source",
    "exact_map_accuracy",
    "expected_calibration_error",
    "honest_use",
    "measures_for",
    "noisy",
    "plan_audit",
    "read_measure",
    "rounded",
    "tempered",
    "top_label",
    "top_scores",
    "write_audit_page",
]
