"""The fleet file's trackers made into adapters, each with its token read when it first speaks. Part of the composition root."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from chalicelib.aws.session import Aws
    from chalicelib.fleet.model import Incidents
    from chalicelib.fleet.model import Tracker as TrackerModel
    from chalicelib.incident.ports import Tracker


def make_trackers(incidents: Incidents, aws: Aws, *, environment: str, base_url: str | None) -> Mapping[str, Tracker]:
    """An adapter for each tracker of the fleet file. `base_url` puts BASE/<type> in place of every vendor's host."""
    from chalicelib.aws.secrets import TokenStore  # noqa: PLC0415

    tokens = TokenStore(aws)

    def token(secret: str) -> Callable[[], str]:
        return lambda: tokens.get(secret)

    return {
        name: _make(model, token, aws, environment=environment, base_url=base_url)
        for name, model in incidents.trackers.items()
    }


def _make(
    model: TrackerModel, token: Callable[[str], Callable[[], str]], aws: Aws, *, environment: str, base_url: str | None
) -> Tracker:
    # Each adapter is imported only where the fleet file names it.
    from chalicelib.fleet import model as fleet  # noqa: PLC0415

    def at(url: str) -> str:
        return f"{base_url}/{model.type}{urlsplit(url).path}" if base_url else url

    match model:
        case fleet.GitHubTracker():
            from chalicelib.tickets.github import GitHubIssues  # noqa: PLC0415

            return GitHubIssues(
                api_url=at(model.api_url),
                repository=model.repository,
                token=token(model.token_secret),
                labels=model.labels,
            )
        case fleet.JiraTracker():
            from chalicelib.tickets.jira import JiraIssues  # noqa: PLC0415

            return JiraIssues(
                api_url=at(model.api_url), project=model.project, user=model.user, token=token(model.token_secret),
                issue_type=model.issue_type, labels=model.labels,
            )  # fmt: skip
        case fleet.PagerDutyTracker():
            from chalicelib.tickets.pagerduty import PagerDuty  # noqa: PLC0415

            return PagerDuty(
                api_url=at(model.api_url), rest_url=at(model.rest_url), source=f"xai-{environment}",
                routing_key=token(model.routing_key_secret), token=token(model.token_secret) if model.token_secret else None,
                user=model.user,
            )  # fmt: skip
        case fleet.ServiceNowTracker():
            from chalicelib.tickets.servicenow import ServiceNow  # noqa: PLC0415

            return ServiceNow(
                api_url=at(model.api_url), user=model.user, token=token(model.token_secret),
                assignment_group=model.assignment_group, category=model.category,
                close_code=model.close_code,
            )  # fmt: skip
        case fleet.SlackTracker():
            from chalicelib.tickets.slack import SlackThread  # noqa: PLC0415

            return SlackThread(api_url=at(model.api_url), channel=model.channel, token=token(model.token_secret))
        case fleet.SnsTracker():
            from chalicelib.aws.mail import SnsMail  # noqa: PLC0415
            from chalicelib.tickets.plain import plain  # noqa: PLC0415

            return SnsMail(aws, model.topic, render=plain)
