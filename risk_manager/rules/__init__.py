"""The rules, a file or a package each. This list is the one place that names them all."""

from risk_manager.domain.rule import Rule
from risk_manager.rules.auth_loss_guard import AuthLossGuard
from risk_manager.rules.consecutive_loss_limit import ConsecutiveLossLimit
from risk_manager.rules.consistency import Consistency
from risk_manager.rules.cooldown_after_loss import CooldownAfterLoss
from risk_manager.rules.daily_profit_target import DailyProfitTarget
from risk_manager.rules.daily_realized_loss import DailyRealizedLoss
from risk_manager.rules.daily_unrealized_loss import DailyUnrealizedLoss
from risk_manager.rules.giveback import Giveback
from risk_manager.rules.group_limit import GroupLimit
from risk_manager.rules.max_contracts import MaxContracts
from risk_manager.rules.max_contracts_per_instrument import MaxContractsPerInstrument
from risk_manager.rules.max_risk_at_entry import MaxRiskAtEntry
from risk_manager.rules.max_unrealized_profit import MaxUnrealizedProfit
from risk_manager.rules.no_averaging_down import NoAveragingDown
from risk_manager.rules.no_stop_loss_grace import NoStopLossGrace
from risk_manager.rules.own_pace import OwnPace
from risk_manager.rules.period_loss import PeriodLoss
from risk_manager.rules.product_caps import ProductCaps
from risk_manager.rules.reentry_delay import ReentryDelay
from risk_manager.rules.release_window import ReleaseWindow
from risk_manager.rules.scaling_plan import ScalingPlan
from risk_manager.rules.session_block_outside import SessionBlockOutside
from risk_manager.rules.size_after_loss import SizeAfterLoss
from risk_manager.rules.stop_guard import StopGuard
from risk_manager.rules.symbol_blocks import SymbolBlocks
from risk_manager.rules.trade_frequency_limit import TradeFrequencyLimit
from risk_manager.rules.trade_management import TradeManagement
from risk_manager.rules.trailing_daily_loss import TrailingDailyLoss
from risk_manager.rules.trailing_max_drawdown import TrailingMaxDrawdown

RULES: tuple[type[Rule], ...] = (
    MaxContracts,
    MaxContractsPerInstrument,
    DailyRealizedLoss,
    DailyUnrealizedLoss,
    MaxUnrealizedProfit,
    TradeFrequencyLimit,
    CooldownAfterLoss,
    NoStopLossGrace,
    SessionBlockOutside,
    AuthLossGuard,
    SymbolBlocks,
    TradeManagement,
    DailyProfitTarget,
    ConsecutiveLossLimit,
    TrailingMaxDrawdown,
    TrailingDailyLoss,
    PeriodLoss,
    ScalingPlan,
    Giveback,
    Consistency,
    ReleaseWindow,
    ProductCaps,
    GroupLimit,
    OwnPace,
    MaxRiskAtEntry,
    NoAveragingDown,
    StopGuard,
    SizeAfterLoss,
    ReentryDelay,
)
