"""What a user has allowed for good, and how to take it back."""

from __future__ import annotations

from http import HTTPStatus

from ...errors import AgentError
from ...protocol.plain import to_plain
from .base import AgentHandler, guarded


class NoSuchRule(AgentError):
    """There is no rule of this user's with this id."""

    code = "no_such_rule"


class RulesHandler(AgentHandler):
    """The user's own rules, the oldest first."""

    @guarded
    async def get(self) -> None:
        host = await self.engine.host()
        rules = [rule for rule in await host.rules.list() if rule.user == self.user_name]
        self.reply({"rules": [to_plain(rule) for rule in rules]})


class RuleHandler(AgentHandler):
    """One of them."""

    @guarded
    async def delete(self, rule_id: str) -> None:
        host = await self.engine.host()
        mine = [rule.id for rule in await host.rules.list() if rule.user == self.user_name]
        if rule_id not in mine or not await host.rules.remove(rule_id):
            raise NoSuchRule("There is no such rule.")
        self.set_status(HTTPStatus.NO_CONTENT)
        self.finish()
