# Everything a developer or CI runs. Only Go and a C compiler are needed; with
# PostgreSQL, which scripts/postgres.sh installs where it may, more is tested.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.7.0
PACKAGES    = ./...
FUZZTIME   ?= 20s
VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.PHONY: all build test race check lint fmt vet staticcheck structure bench bench-peer fuzz devnet clean postgres

all: build

build: ## bin/sidecar, the production binary
	go build -trimpath -ldflags "-X main.version=$(VERSION)" -o bin/sidecar ./cmd/sidecar

postgres: ## a PostgreSQL for the tests of the shared ledger, where it can be had
	@./scripts/postgres.sh

test: postgres ## the ordinary tests: real servers, real keys, real geth, under ten minutes on two cores
	go test -timeout 10m $(PACKAGES)

race: postgres ## the same under the race detector
	go test -race -timeout 30m $(PACKAGES)

check: lint race structure ## what is green before every commit

lint: fmt vet staticcheck

fmt:
	@out=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); test -z "$$out" || { echo "not gofmt-ed:"; echo "$$out"; exit 1; }

vet:
	go vet $(PACKAGES)

staticcheck:
	go run $(STATICCHECK) $(PACKAGES)

structure: ## floors, owners and generated docs agree with the code
	go test -count=1 -run 'TestStructure|TestDocs|TestProduction' ./tests

bench: ## Go benchmarks, then this sidecar beside mev-boost in one run
	go test -run '^$$' -bench . -benchmem ./internal/wire ./builderapi ./modules/inclusion ./commitments ./internal/ledger
	$(MAKE) bench-peer

bench-peer:
	cd bench && ./run.sh

fuzz: ## every fuzz target for FUZZTIME
	@for pkg in $$(go list ./...); do \
	  for f in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "$$pkg $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; done; done

devnet: ## a whole chain in one process, and the main job on it
	go run ./cmd/devnet

clean:
	rm -rf bin
