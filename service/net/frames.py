"""The protocol of one connection in HTTP/2, as the h2 package keeps it, with what is said to every client."""

from typing import Final

from h2 import events
from h2.config import H2Configuration
from h2.connection import ConnectionInputs, H2Connection, H2ConnectionStateMachine
from h2.settings import ChangedSetting, SettingCodes, Settings
from hyperframe.frame import GoAwayFrame

#: Calls under way on one connection.
CALLS: Final = 128
#: As many as the package may see begun before it ends the connection: more than are under way, and come in one piece.
_BEGUN: Final = 1024
#: Bytes that a client may send ahead of what is asked for, of one call and of all on its connection.
_WINDOW: Final = 1 << 20
ALL_WINDOWS: Final = 16 << 20
#: Bytes of the heads that have been sent to a client, which are kept to send them shorter; it allows so many at first.
_TABLE: Final = 4 << 10
#: Bytes that the head of a call may have, as the protocol counts them; the package ends the connection beyond 64 KiB.
LONGEST_HEAD: Final = 16 << 10
_SETTINGS: Final = {
    SettingCodes.MAX_CONCURRENT_STREAMS: CALLS,
    SettingCodes.INITIAL_WINDOW_SIZE: _WINDOW,
    SettingCodes.MAX_HEADER_LIST_SIZE: LONGEST_HEAD,
}
_LAST: Final = (1 << 31) - 1
#: Asks a client to connect anew for its next calls. Not by the package, which then would take no frame any more.
GOAWAY: Final = GoAwayFrame(0, last_stream_id=_LAST).serialize()


def begun() -> H2Connection:
    """Return the state of a new connection; what its client may do is said in the first data to send."""
    config = H2Configuration(client_side=False, header_encoding=None)
    # What is sent is right without a look at it, and of what comes cookies alone would be made anew.
    config.validate_outbound_headers = config.normalize_outbound_headers = config.normalize_inbound_headers = False
    h2 = H2Connection(config)
    h2.state_machine = _Lasting()
    h2.local_settings = Settings(client=False, initial_values=_SETTINGS)
    h2.remote_settings = _Modest(client=True)
    h2.initiate_connection()
    # A client may call before it has read how many calls it may have: those beyond are refused, and not all with them.
    h2.local_settings = Settings(client=False, initial_values=_SETTINGS | {SettingCodes.MAX_CONCURRENT_STREAMS: _BEGUN})
    h2.increment_flow_control_window(ALL_WINDOWS)
    return h2


class _Modest(Settings):
    """Has the package keep no more of what was sent than every client allows at first, whatever this one does."""

    def acknowledge(self) -> dict[SettingCodes | int, ChangedSetting]:
        """Return the settings that have changed."""
        changes = super().acknowledge()
        if table := changes.get(SettingCodes.HEADER_TABLE_SIZE):
            table.new_value = min(table.new_value, _TABLE)
        return changes


class _Lasting(H2ConnectionStateMachine):
    """Goes on after a client has said that it will call no more: it waits for what it has called."""

    def process_input(self, input_: ConnectionInputs) -> list[events.Event]:
        """Take note of what is received or sent. Raises ProtocolError."""
        return [] if input_ is ConnectionInputs.RECV_GOAWAY else super().process_input(input_)
