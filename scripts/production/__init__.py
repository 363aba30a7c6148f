"""The model in production: releases, rollback, promotion gate, monitoring and alerts."""
