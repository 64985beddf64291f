// Apps for tine (and pm2). `tine start` starts them.
module.exports = {
  apps: [{
    name: 'api',
    script: 'server.js',       // a script, a program, or a command line
    instances: 2,              // or 'max': one for each CPU
    // args: '--port 8003',
    // cwd: '/srv/api',
    // watch: ['src'],
    // max_memory_restart: '300M',
    env: { NODE_ENV: 'development' },
    // With: tine start --env production
    env_production: { NODE_ENV: 'production' },
  }],
};
