# What each target does: make help

GO            ?= go
FUZZTIME      ?= 10s
BENCHTIME     ?= 1s
GOLANGCI_LINT := v2.15.0
DATA          ?= ../shared/data

.DEFAULT_GOAL := help
.PHONY: help build test test-servers lint fuzz bench judge run

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/yizhan
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/yizhan ./cmd/yizhan

# The race detector needs a C compiler; Go turns cgo off where it finds none.
RACE = $(if $(filter 1,$(shell $(GO) env CGO_ENABLED)),-race)

test: ## vet, then run every test with the race detector (without it where there is no C compiler)
	$(GO) vet ./...
	@$(if $(RACE),:,echo "no C compiler: the tests run without the race detector" >&2)
	$(GO) test $(RACE) -shuffle=on -timeout 30m ./...

test-servers: ## test the mail channel against Debian's Postfix, as root; needs postfix, sasl2-bin, libsasl2-modules, python3-dkim, python3-nacl; and 10,000 SMS through two processes
	$(GO) test $(RACE) -shuffle=on -tags servers -run 'Postfix|Sink' ./channels/email
	$(GO) test -run 'ManySMS' ./cmd/yizhan

lint: bin/golangci-lint-$(GOLANGCI_LINT) ## run the linters
	bin/golangci-lint-$(GOLANGCI_LINT) run

bin/golangci-lint-$(GOLANGCI_LINT):
	GOBIN=$(CURDIR)/bin $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_LINT)
	mv bin/golangci-lint $@

fuzz: ## run each fuzz target for FUZZTIME (10s)
	@set -e; for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "$$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; \
	done

bench: ## run the benchmarks, BENCHTIME (1s) each
	$(GO) test -run '^$$' -bench . -benchmem -benchtime $(BENCHTIME) ./...

judge: build ## judge the labelled messages in DATA (not part of the project) and print the scores
	@test -f $(DATA)/score.py || { echo "make judge needs a folder with score.py and labelled messages, which are not part of the project: make judge DATA=folder" >&2; exit 1; }
	@pred=$$(mktemp) && trap 'rm -f "$$pred"' EXIT && \
		cat $(DATA)/dev.jsonl $(DATA)/evasion_dev.jsonl $(DATA)/hardneg_dev.jsonl $(DATA)/structural_cases.jsonl | bin/yizhan lint --jsonl > "$$pred" && \
		python3 $(DATA)/score.py "$$pred" dev

run: build ## build, then run everything in one process with a sandbox; ARGS="--listen 127.0.0.1:8481"
	bin/yizhan dev $(ARGS)
