"""The map of the rooms. Handlers stand in app.py; everything below is what they call.

    doors.py            what the handlers share: an inbox word, a tick, the tickets, an answer
    wiring.py           the composition root: settings, fleet file, adapters, and the one clock
    settings.py         the stage's environment; errors.py: the error tree; observe*.py: logs, metrics, traces
    fleet/              the fleet file: what is operated, and within which limits
    events/             outside words -> our words: ECR, ECS, alarms, people
    rollout/            image push -> waves -> bake -> promoted | rolled back
        decide.py       **the rollback decision**; start.py before the first wave, way_back.py after the last word
        run.py          one tick: claim -> observe -> decide -> record -> act -> record
    health/             readings and limits -> findings -> verdict
    incident/           reports -> one incident -> one ticket
    aws/                the only room that knows boto; one file per service
    nodes/              the only room that talks HTTP to nodes and explorers
    tickets/            the only room that talks HTTP to trackers

A domain uses the same few file names: `model` (frozen words), `ports` (what it needs from outside), pure files that
decide, judge or render, `act`, and `run` (observe -> decide -> act). Adapters know words and ports, never who decides.
"""
