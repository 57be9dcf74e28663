"""``python -m gateway_worker.engine``."""

from gateway_worker.engine.main import main

if __name__ == "__main__":
    main()
