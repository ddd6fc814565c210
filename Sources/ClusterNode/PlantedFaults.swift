// Faults that the simulator plants into nodes and their shells, to prove that it would find them.

import Election

/// Empty everywhere but in the simulator.
package struct PlantedFaults: OptionSet, Sendable {
  package let rawValue: Int
  package init(rawValue: Int) { self.rawValue = rawValue }

  /// Judges a holder by what this node heard itself, not by its peers' reports.
  package static let ownEvidenceOnly = PlantedFaults(rawValue: 1 << 0)
  /// Ranks rivals by this node's configuration instead of what they announce.
  package static let orderFromOwnConfiguration = PlantedFaults(rawValue: 1 << 1)
  /// The survivor of two holders does not announce again.
  package static let noAnnouncementAfterHeal = PlantedFaults(rawValue: 1 << 2)
  /// Believes any signed boot id without the echo.
  package static let unconfirmedBootBelieved = PlantedFaults(rawValue: 1 << 3)
  /// A draining node takes VIPs like any other.
  package static let drainingAcquires = PlantedFaults(rawValue: 1 << 4)
  /// A planned handover names the successor before the address is gone.
  package static let releaseBeforeRemoval = PlantedFaults(rawValue: 1 << 5)
  /// A node that slept goes on answering as if nothing had been.
  package static let sleepsWithoutDoubt = PlantedFaults(rawValue: 1 << 6)
  /// Claims at once after the start, without listening.
  package static let claimsWithoutListening = PlantedFaults(rawValue: 1 << 7)
  /// The gate counts from when the node woke instead of from what it sent.
  package static let gateCountsFromWaking = PlantedFaults(rawValue: 1 << 8)
  /// A resign ends whatever boot is believed, also when it names another.
  package static let resignOfAnyBoot = PlantedFaults(rawValue: 1 << 9)
  /// The lower rank of two holders goes on.
  package static let lowerRankStays = PlantedFaults(rawValue: 1 << 10)
  /// The guardian resigns first, and shuts the gate afterwards.
  package static let resignsBeforeGate = PlantedFaults(rawValue: 1 << 11)
  /// A VIP is announced before its address is there.
  package static let announcesEarly = PlantedFaults(rawValue: 1 << 12)
  /// Whoever yields keeps the address.
  package static let keepsAddress = PlantedFaults(rawValue: 1 << 13)

  /// Takes a VIP of which another says that it is held.
  package static let hearsayIgnored = PlantedFaults(rawValue: 1 << 14)
  /// Takes what nobody holds without waiting for those who rank higher.
  package static let actsOutOfTurn = PlantedFaults(rawValue: 1 << 15)
  /// Takes what nobody holds at once although it misses what the VIP requires.
  package static let lastResortAtOnce = PlantedFaults(rawValue: 1 << 16)
  /// Takes a strict requirement for any other.
  package static let strictIgnored = PlantedFaults(rawValue: 1 << 17)
  /// Signs with its first key only while keys are exchanged.
  package static let noCopyInOtherKey = PlantedFaults(rawValue: 1 << 18)
  /// Believes what a member told of a VIP that its configuration does not name any more.
  package static let untoldClaimsCount = PlantedFaults(rawValue: 1 << 19)
  /// Takes VIPs although it is a member that never holds any.
  package static let witnessAcquires = PlantedFaults(rawValue: 1 << 20)
  /// Judges every peer by its own interval.
  package static let ownIntervalForAll = PlantedFaults(rawValue: 1 << 21)
  /// Judges a VIP by the cluster's carrier alone.
  package static let vipCarrierIgnored = PlantedFaults(rawValue: 1 << 22)
  /// Takes what a member says it holds that does not hear it.
  package static let unheardClaims = PlantedFaults(rawValue: 1 << 23)
  /// Each by its name.
  package static let all: [(name: String, fault: PlantedFaults)] = [
    ("own-evidence-only", .ownEvidenceOnly),
    ("order-from-own-configuration", .orderFromOwnConfiguration),
    ("no-announcement-after-heal", .noAnnouncementAfterHeal),
    ("unconfirmed-boot-believed", .unconfirmedBootBelieved),
    ("draining-acquires", .drainingAcquires),
    ("release-before-removal", .releaseBeforeRemoval),
    ("sleeps-without-doubt", .sleepsWithoutDoubt),
    ("claims-without-listening", .claimsWithoutListening),
    ("gate-counts-from-waking", .gateCountsFromWaking),
    ("resign-of-any-boot", .resignOfAnyBoot),
    ("lower-rank-stays", .lowerRankStays),
    ("resigns-before-gate", .resignsBeforeGate),
    ("announces-early", .announcesEarly),
    ("keeps-address", .keepsAddress),
    ("hearsay-ignored", .hearsayIgnored),
    ("acts-out-of-turn", .actsOutOfTurn),
    ("last-resort-at-once", .lastResortAtOnce),
    ("strict-ignored", .strictIgnored),
    ("no-copy-in-other-key", .noCopyInOtherKey),
    ("untold-claims-count", .untoldClaimsCount),
    ("witness-acquires", .witnessAcquires),
    ("own-interval-for-all", .ownIntervalForAll),
    ("vip-carrier-ignored", .vipCarrierIgnored),
    ("unheard-claims", .unheardClaims),
  ]
}

extension NodeCore {
  /// What a node with a fault decides.
  func planted(_ decision: Decision, _ vip: VIPIndex, _ standing: OwnStanding) -> Decision {
    let claim = vips[vip.value].claim
    guard decision == .nothing, !standing.holding, claim.vacantSince != nil else { return decision }
    switch standing.ineligible {
    case nil where faults.contains(.actsOutOfTurn): return .acquire(claim.vacancyCause)
    case .requirementsUnmet(strict: false) where faults.contains(.lastResortAtOnce): return .acquire(claim.vacancyCause)
    default: return decision
    }
  }
}
