# Everything a developer or CI runs. Only Go and a C compiler are needed, but for
# the contracts: rebuilding them takes Node.
STATICCHECK = honnef.co/go/tools/cmd/staticcheck@v0.7.0
GOSEC       = github.com/securego/gosec/v2/cmd/gosec@v2.22.11
KILLS      ?= 600
PACKAGES    = ./...
FUZZTIME   ?= 20s
VERSION    ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)

.PHONY: all timing build postgres test race check lint fmt vet staticcheck gosec structure crash bench bench-peer bench-preconf bench-signer fuzz e2e-dirk e2e-wallet e2e \
	devnet contracts contracts-test clean

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

lint: fmt vet staticcheck gosec

fmt:
	@out=$$(gofmt -l $$(git ls-files -co --exclude-standard '*.go')); test -z "$$out" || { echo "not gofmt-ed:"; echo "$$out"; exit 1; }

vet:
	go vet $(PACKAGES)

staticcheck:
	go run $(STATICCHECK) $(PACKAGES)

gosec: ## every rule, integer conversions (G115) included, where signatures are made and kept, and where keys pay
	go run $(GOSEC) -quiet -tests=false ./signer/... ./internal/ledger/... ./slashing ./slashing/evidence ./slashing/onchain ./slashing/restake ./cmd/sidecar

structure: ## floors, owners and generated docs agree with the code
	go test -count=1 -run 'TestStructure|TestDocs|TestProduction' ./tests

crash: ## the ledger's process killed KILLS times, at every durable step and at random
	LEDGER_KILLS=$(KILLS) go test -count=1 -v -timeout 60m -run 'TestCrash_Kill$$' ./internal/ledger

bench-signer: ## what of the key operation's rate is left with the ledger, medians of interleaved rounds
	SIGNER_RATIO=all go test -count=1 -v -timeout 20m -run 'TestRatio$$' ./signer
	go test -run '^$$' -bench 'BenchmarkSign|BenchmarkKey' -benchmem ./signer

timing: ## whether the check of a token tells by its time what was right in it, on a quiet machine
	SIGNER_TIMING=1 go test -count=1 -v -run 'TestToken_Timing' ./signer/api

bench: ## Go benchmarks, then this sidecar beside mev-boost in one run
	go test -run '^$$' -bench . -benchmem ./internal/wire ./builderapi ./modules/inclusion ./commitments ./internal/ledger
	$(MAKE) bench-peer

bench-preconf: ## promises per second through the gateway of a real process, beside an fdatasync of the same disk
	go build -trimpath -o bin/sidecar ./cmd/sidecar
	cd bench && go run ./preconf -sidecar ../bin/sidecar

bench-peer:
	cd bench && ./run.sh

fuzz: ## every fuzz target for FUZZTIME
	@for pkg in $$(go list ./...); do \
	  for f in $$(go test -list '^Fuzz' $$pkg | grep '^Fuzz'); do \
	    echo "$$pkg $$f"; go test -run '^$$' -fuzz "^$$f$$" -fuzztime $(FUZZTIME) $$pkg || exit 1; done; done

e2e-dirk: ## keys in real Dirk servers, built from their module: a minute on two cores
	cd e2e/dirk && go vet . && go test -count=1 -timeout 5m .

e2e-wallet: ## ethers, viem and cast, unmodified, on a chain with a sidecar: a quarter of a minute, and npm
	cd e2e/wallet && npm ci --ignore-scripts --no-audit --no-fund
	go vet -tags e2e ./e2e/wallet && go test -tags e2e -count=1 -timeout 5m -v ./e2e/wallet

devnet: ## a whole chain in one process, and the main job on it
	go run ./cmd/devnet

contracts: ## compiles contracts/src into contracts/bindings, with the compiler pinned in package-lock.json
	cd contracts && npm ci --no-audit --no-fund && npm run --silent build

contracts-test: contracts ## forge on the contracts, then Go on their committed code
	cd contracts && npm test --silent
	go test -count=1 ./contracts/...

e2e: ## our contracts on EigenLayer's real core, a module of its own for its licence
	cd e2e/eigenlayer && go vet ./... && go test -count=1 ./...

clean:
	rm -rf bin
