/** What `parley --help` prints. */

export const USAGE = `Usage:
  parley serve [--port PORT] [--domain NAME] [--data FOLDER]
  parley user add NAME [--name "Real Name"] [--password-stdin]
  parley user list
  parley user passwd NAME [--password-stdin]
  parley user remove NAME
  parley phone [--as NAME]      the softphone; parley phone --help tells more
  parley demo                   two softphones and a room on this machine
  parley --help | --version

serve and user take --config FILE and --set KEY=VALUE (any setting; see config/parley.example.toml).
`;
