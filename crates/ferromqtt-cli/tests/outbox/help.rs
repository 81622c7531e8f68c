//! The help of each subcommand.

use crate::folder::run;

const SUBCOMMANDS: [&str; 7] = ["ls", "stat", "check", "export", "import", "retry", "drop"];

#[test]
fn every_help_is_there_and_no_wider_than_80_columns() {
    for help in ["--help", "-h"] {
        let mut all = vec![vec!["outbox", help]];
        all.extend(SUBCOMMANDS.map(|name| vec!["outbox", name, help]));
        for arguments in all {
            let ran = run(&arguments);
            assert_eq!(ran.code, 0);
            let wide = ran
                .lines()
                .into_iter()
                .find(|line| line.chars().count() > 80);
            assert_eq!(wide, None, "{arguments:?}");
        }
    }
}

#[test]
fn the_help_lists_every_subcommand_and_the_exit_codes() {
    let ran = run(&["outbox", "--help"]);
    for name in SUBCOMMANDS {
        assert!(ran.stdout.contains(&format!("\n  {name} ")), "{name}");
    }
    assert!(ran.stdout.contains("Exit codes: 0 done; 1 not done"));
}
