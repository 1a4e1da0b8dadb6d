"""What the scripts of bench/ share: inputs, timing, referees, reports, the machine they ran on."""
