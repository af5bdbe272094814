"""Why something failed, in one line."""


def reason(error: BaseException) -> str:
    """Return what the system, the database or its driver has said first."""
    cause = error.__cause__ or error
    said = getattr(cause, "orig", None) or cause  # what SQLAlchemy wraps, without that
    first = str(said).strip().partition("\n")[0]
    return first or type(said).__name__
