"""Reader mode with its opinions, the digest of a patient's key, and drafts with synthetic illustrations."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Columns of a case, then the table of opinions."""
    op.add_column("patient_case", sa.Column("patient", sa.String(length=64), nullable=True))
    for name in ("reader_mode", "illustrate"):
        op.add_column(
            "patient_case", sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false())
        )
    op.create_index(op.f("ix_patient_case_patient"), "patient_case", ["patient"], unique=False)
    op.create_table(
        "opinion",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("case_id", sa.String(length=32), nullable=False),
        sa.Column("user_id", sa.String(length=32), nullable=False),
        sa.Column("started", sa.Float(), nullable=False),
        sa.Column("committed", sa.Float(), nullable=True),
        sa.Column("diagnosis", sa.Text(), nullable=False),
        sa.Column("sure", sa.Integer(), nullable=True),
        sa.Column("agreement", sa.String(length=10), nullable=True),
        sa.Column("compared", sa.Float(), nullable=True),
        sa.ForeignKeyConstraint(["case_id"], ["patient_case.id"]),
        sa.ForeignKeyConstraint(["user_id"], ["user_account.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("case_id", "user_id"),
    )
