"""How all of the kit's own tests run."""

from hypothesis import HealthCheck, settings

# How quickly examples are made says something about the machine, and nothing about what is tested.
settings.register_profile("kit", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("kit")
