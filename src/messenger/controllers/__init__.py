"""Controllers: a handler reads the request, calls one service method, and returns its result."""

from messenger.controllers.accounts import AccountController
from messenger.controllers.admission import BanController, InvitationController, LinkController
from messenger.controllers.calls import CallController
from messenger.controllers.contacts import ContactController
from messenger.controllers.demo import DemoController
from messenger.controllers.documents import DocumentController
from messenger.controllers.groups import GroupController, MemberController
from messenger.controllers.health import HealthController
from messenger.controllers.home import HomeController
from messenger.controllers.messages import ConversationController, MessageController
from messenger.controllers.profiles import AvatarController, ProfileController
from messenger.controllers.realtime import RealtimeController
from messenger.controllers.safe import SafeController

CONTROLLERS = (
    AccountController,
    AvatarController,
    BanController,
    CallController,
    ContactController,
    ConversationController,
    DemoController,
    DocumentController,
    GroupController,
    HealthController,
    HomeController,
    InvitationController,
    LinkController,
    MemberController,
    MessageController,
    ProfileController,
    RealtimeController,
    SafeController,
)

__all__ = ["CONTROLLERS"]
