"""Every setting as a frozen pydantic model, loaded from YAML; unknown keys are refused by name.

Two files: a *site* config says where one hospital's images are and what its machine is; a *study* config says what is
trained and how, the same for every hospital. Both have a default for everything a beginner need not know.
"""

from ra_core.calibration_settings import CalibrationConfig
from ra_core.config.federation import FederationConfig, ServerOptimizerConfig
from ra_core.config.site import (
    DIGEST,
    SITE_NAME,
    DataConfig,
    FolderRules,
    LimitsConfig,
    RuntimeConfig,
    ServerConfig,
    SiteConfig,
    SplitShares,
)
from ra_core.config.study import (
    AugmentationConfig,
    EvaluationConfig,
    Plane,
    Precision,
    PreprocessingConfig,
    StudyConfig,
    TrainingConfig,
    WindowName,
)
from ra_core.models.configs import PerceptualConfig
from ra_core.policy import PolicyConfig
from ra_core.privacy.settings import PrivacyConfig
from ra_core.secure_aggregation import KeyringConfig, SecureAggregationConfig

__all__ = [
    "DIGEST",
    "SITE_NAME",
    "AugmentationConfig",
    "CalibrationConfig",
    "DataConfig",
    "EvaluationConfig",
    "FederationConfig",
    "FolderRules",
    "KeyringConfig",
    "LimitsConfig",
    "PerceptualConfig",
    "Plane",
    "PolicyConfig",
    "Precision",
    "PreprocessingConfig",
    "PrivacyConfig",
    "RuntimeConfig",
    "SecureAggregationConfig",
    "ServerConfig",
    "ServerOptimizerConfig",
    "SiteConfig",
    "SplitShares",
    "StudyConfig",
    "TrainingConfig",
    "WindowName",
]
