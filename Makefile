# make demo   install into .venv if needed, train six nets on the embedded data, print the path of the report
# make test   lint, types and fast tests;  make test-slow   the longer tests
# make soak   sweeps interrupted by 50 kills at random moments, and the variants of tests that are rarely run; about 30 minutes
# make test-cluster   sweeps on a Slurm and on a Ray of two virtual nodes on this machine; as root, on Debian
# make test-extras   searching, importing, trackers and Parquet, whose packages it installs (Trackio only if you have installed it)
# make experiments   every experiment of conf/experiment on digits, then one page over all sweeps: results/index.html
# make lab    the residual block worked by hand, and questions answered by small runs: results/lab/index.html, also in Chinese

PYTHON ?= python3
PY := .venv/bin/python
EXPERIMENTS := $(filter-out none degradation_laptop,$(basename $(notdir $(sort $(wildcard conf/experiment/*.yaml)))))

.PHONY: demo test test-slow soak test-cluster test-extras experiments lab install clean

demo: install
	$(PY) -m harness.run -m depth=20,56,110 shortcut=none,identity

test: install
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(PY) -m pytest

test-slow: install
	$(PY) -m pytest -m 'slow and not soak and not cluster'

soak: install
	$(PY) -m pytest -n 0 -m soak

test-extras: install  # without Trackio, which needs a Pillow older than that of constraints.txt
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[search,import,mlflow,parquet]'
	$(PY) -m pytest -n 0 -m extras

test-cluster: install
	command -v slurmdbd >/dev/null && command -v mariadbd >/dev/null || { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq \
		--no-install-recommends slurmctld slurmd slurmdbd slurm-client munge mariadb-server-core; }
	$(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[ray]'
	$(PY) -m pytest -n 0 -m cluster

experiments: install
	@failed=0; \
	for name in $(EXPERIMENTS); do \
		echo "experiment=$$name"; \
		$(PY) -m harness.run -m experiment=$$name; code=$$?; \
		case $$code in 0) ;; 130) exit 130 ;; *) failed=1 ;; esac; \
	done; \
	$(PY) -m harness.report --index && exit $$failed

lab: install
	$(PY) -m harness.lab

install:
	@sh setup.sh $(PYTHON)

clean:
	rm -rf .venv
