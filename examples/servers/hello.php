<?php
// Answers every request with the pid of the process that serves it.
header('Content-Type: text/plain');
echo 'php ', getmypid(), "\n";
