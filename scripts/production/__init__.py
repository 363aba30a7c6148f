"""The model in production: releases, promotion, monitoring, alerts."""
