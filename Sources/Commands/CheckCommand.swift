// `afloat check` – all errors of a configuration with their places, or a summary of what it means.

internal import ArgumentParser
internal import Control
internal import Kernel
internal import Settings

struct CheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check", abstract: "Check a configuration file.",
    discussion: """
      Prints a summary and exits 0, or every error as FILE:LINE:COLUMN and exits 2. An absent key file is only a remark,
      so that files can be checked away from their nodes; one that is there must be right. Scripts that check pools must be
      there, since without them no server of the pool would be up.
      """)

  @Argument(help: ArgumentHelp("The configuration file.", valueName: "file"))
  var file: String = "/etc/afloat/afloat.yaml"

  @Flag(help: "Print as JSON.")
  var json = false

  private struct Report: Encodable {
    struct Fault: Encodable {
      var line: Int
      var column: Int
      var message: String
      var remedy: String?
    }
    var file: String
    var ok: Bool
    var errors: [Fault] = []
    var warnings: [String] = []
  }

  func run() throws {
    do throws(SettingsError) {
      let loaded = try LoadedConfiguration.load(path: file, mayLackKeys: true, read: Self.read)
      let configuration = loaded.configuration
      try configuration.refuseUnusableScripts(file: file, Files.faultOfProgram)
      let remarks =
        configuration.warnings
        + configuration.machineWarnings(program: Files.faultOfProgram, folder: Files.faultOfServedFolder)
        + configuration.bindWarnings(NetlinkConnection.ownAddresses())
        + loaded.absentKeys.map { "the key \($0) is not here" }
      let text = json ? nil : ConfigurationSummary.text(loaded.configuration, file: file, warnings: remarks)
      Terminal.write(text ?? Self.encode(Report(file: file, ok: true, warnings: remarks)))
      return
    } catch {
      if json {
        let faults = error.problems.map {
          Report.Fault(line: $0.position.line, column: $0.position.column, message: $0.message, remedy: $0.remedy)
        }
        Terminal.write(Self.encode(Report(file: file, ok: false, errors: faults)))
      } else {
        Terminal.write(error.lines.map { Words.printable($0) + "\n" }.joined(), toError: true)
        let count = error.problems.count + error.omitted
        Terminal.write("\(Words.printable(file)): \(Words.count(count, "error"))\n", toError: true)
      }
    }
    throw ExitCode(2)
  }

  private static func encode(_ report: Report) -> String {
    (try? JSONLine.text(report)) ?? "\n"
  }

  private static func read(_ path: String, _ limit: Int) throws(FileFault) -> FileContents {
    do throws(SystemError) {
      let file = try Files.readWithMode(path, limit: limit)
      return FileContents(bytes: file.bytes, mode: file.mode)
    } catch {
      throw FileFault(cause: error.cause, isAbsent: error.isNoSuchFile)
    }
  }
}
